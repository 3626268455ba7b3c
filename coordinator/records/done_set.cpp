#include "coordinator/records/done_set.h"

#include <algorithm>

namespace lapidary {
namespace {

constexpr int kBucketBits = 16;  // nine million: about 140 hashes a bucket, a few cache lines
constexpr size_t kBuckets = size_t{1} << kBucketBits;

size_t bucket_of(uint64_t hash) { return hash >> (64 - kBucketBits); }

}  // namespace

void DoneSet::reserve(size_t more) { entries_.reserve(entries_.size() + more); }

void DoneSet::add(uint64_t item, uint64_t key) {
  // Growing by a quarter, not by half: while it grows both copies are in memory.
  if (entries_.size() == entries_.capacity()) reserve(std::max<size_t>(1024, entries_.size() / 4));
  entries_.push_back({item & ~uint64_t{1}, key});
}

void DoneSet::seal() {
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.item < b.item; });
  starts_.assign(kBuckets + 1, 0);
  for (const Entry& entry : entries_) ++starts_[bucket_of(entry.item) + 1];
  for (size_t i = 0; i < kBuckets; ++i) starts_[i + 1] += starts_[i];
}

std::optional<uint64_t> DoneSet::take(uint64_t item) {
  if (entries_.empty()) return std::nullopt;
  const size_t bucket = bucket_of(item);
  const auto begin = entries_.begin() + starts_[bucket];
  const auto end = entries_.begin() + starts_[bucket + 1];
  const uint64_t taken = item | 1;
  // The last one that is not taken: taking it leaves the order as it is.
  const auto after =
      std::lower_bound(begin, end, taken, [](const Entry& a, uint64_t b) { return a.item < b; });
  if (after == begin || (after - 1)->item != (taken ^ 1)) return std::nullopt;
  (after - 1)->item = taken;
  return (after - 1)->key;
}

}  // namespace lapidary
