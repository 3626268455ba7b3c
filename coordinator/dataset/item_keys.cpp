#include "coordinator/dataset/item_keys.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "configs/error.h"
#include "coordinator/text/utf8.h"

namespace lapidary {

std::string as_utf8(std::string_view text) {
  std::string valid;
  while (const auto bad = invalid_utf8(text)) {
    constexpr const char* kDigits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(text[*bad]);
    valid += text.substr(0, *bad);
    valid += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    text.remove_prefix(*bad + 1);
  }
  return valid += text;
}

uint64_t hash_of_key(std::string_view key) {
  const uint64_t hash = XXH3_64bits(key.data(), key.size());
  return hash == 0 ? 1 : hash;
}

// ---- hashes

/// Where it is, or where it would be.
size_t HashSet::place_of(uint64_t hash) const {
  const size_t mask = table_.size() - 1;
  size_t at = hash & mask;
  while (table_[at] != 0 && table_[at] != hash) at = (at + 1) & mask;
  return at;
}

bool HashSet::insert(uint64_t hash) {
  if (held_ * 4 >= table_.size() * 3) grow();
  uint64_t& place = table_[place_of(hash)];
  if (place == hash) return false;
  place = hash;
  ++held_;
  return true;
}

bool HashSet::contains(uint64_t hash) const { return !table_.empty() && table_[place_of(hash)] == hash; }

void HashSet::clear() {
  std::exchange(table_, {});
  held_ = 0;
}

void HashSet::grow() {
  const auto before = std::exchange(table_, std::vector<uint64_t>(std::max<size_t>(1024, table_.size() * 2)));
  for (const uint64_t hash : before)
    if (hash != 0) table_[place_of(hash)] = hash;
}

int64_t Occurrences::count(uint64_t hash) {
  if (seen_.insert(hash)) return 1;
  int64_t& times = times_[hash];
  return times = std::max<int64_t>(times, 1) + 1;
}

void Occurrences::clear() {
  seen_.clear();
  times_.clear();
}

// ---- keys

void ItemKeys::keep(const DatasetItem& item, uint64_t key_hash) {
  picture_ = item.picture;
  key_.clear();
  key_hash_ = key_hash;
}

void ItemKeys::name(DatasetItem& item) {
  if (by_shard_ && std::exchange(shard_, item.shard) != item.shard) {
    given_.clear();
    times_.clear();
  }
  const bool same = item.picture != 0 && item.picture == picture_;
  if (!same)
    key_ = new_key(item.key);
  else if (key_.empty())
    key_ = kept_key(item.key, key_hash_);
  picture_ = item.picture;
  item.key = key_;
}

std::string ItemKeys::new_key(const std::string& wanted) {
  const auto is_free = [&](const std::string& key) {
    const uint64_t hash = hash_of_key(key);
    return !recorded_.contains(hash) && given_.insert(hash);
  };
  if (is_free(wanted)) return wanted;
  ++numbered_;
  int64_t& times = times_[hash_of_key(wanted)];
  for (times = std::max<int64_t>(times, 1);;) {
    std::string numbered = cat(wanted, "#", ++times);
    if (is_free(numbered)) return numbered;
  }
}

/// The one of `wanted` and its numbers that has this hash.
std::string ItemKeys::kept_key(const std::string& wanted, uint64_t hash) const {
  constexpr int64_t kMost = 100'000'000;
  std::string key = wanted;
  for (int64_t number = 2; hash_of_key(key) != hash; ++number) {
    if (number > kMost) fail("the record of ", wanted, " has another key than any of its picture");
    key = cat(wanted, "#", number);
  }
  return key;
}

}  // namespace lapidary
