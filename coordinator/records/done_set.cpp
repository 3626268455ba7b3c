#include "coordinator/records/done_set.h"

#include <algorithm>

namespace lapidary {
namespace {

constexpr int kBucketBits = 16;  // nine million: about 140 hashes a bucket, a few cache lines
constexpr size_t kBuckets = size_t{1} << kBucketBits;

size_t bucket_of(uint64_t hash) { return hash >> (64 - kBucketBits); }

}  // namespace

void DoneSet::reserve(size_t more) { hashes_.reserve(hashes_.size() + more); }

void DoneSet::add(uint64_t hash) {
  // Growing by a quarter, not by half: while it grows both copies are in memory.
  if (hashes_.size() == hashes_.capacity()) reserve(std::max<size_t>(1024, hashes_.size() / 4));
  hashes_.push_back(hash & ~uint64_t{1});
}

void DoneSet::seal() {
  std::sort(hashes_.begin(), hashes_.end());
  starts_.assign(kBuckets + 1, 0);
  for (const uint64_t hash : hashes_) ++starts_[bucket_of(hash) + 1];
  for (size_t i = 0; i < kBuckets; ++i) starts_[i + 1] += starts_[i];
}

bool DoneSet::take(uint64_t hash) {
  if (hashes_.empty()) return false;
  const size_t bucket = bucket_of(hash);
  const auto begin = hashes_.begin() + starts_[bucket];
  const auto end = hashes_.begin() + starts_[bucket + 1];
  const uint64_t taken = hash | 1;
  // The last one that is not taken: taking it leaves the order as it is.
  const auto after = std::lower_bound(begin, end, taken);
  if (after == begin || *(after - 1) != (taken ^ 1)) return false;
  *(after - 1) = taken;
  return true;
}

}  // namespace lapidary
