#include "coordinator/dataset/unique_keys.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "configs/error.h"
#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

uint64_t hash_of(std::string_view key) {
  const uint64_t hash = XXH3_64bits(key.data(), key.size());
  return hash == 0 ? 1 : hash;
}

}  // namespace

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

std::string UniqueKeys::unique(std::string_view key) {
  const std::string valid = as_utf8(key);
  const uint64_t hash = hash_of(valid);
  if (insert(hash)) return valid;
  ++numbered_;
  int64_t& times = times_[hash];
  for (times = std::max<int64_t>(times, 1);;) {
    std::string numbered = cat(valid, "#", ++times);
    if (insert(hash_of(numbered))) return numbered;
  }
}

void UniqueKeys::forget() {
  std::exchange(table_, {});
  std::exchange(times_, {});
  held_ = 0;
}

bool UniqueKeys::insert(uint64_t hash) {
  if (held_ * 4 >= table_.size() * 3) grow();
  const size_t mask = table_.size() - 1;
  for (size_t at = hash & mask;; at = (at + 1) & mask) {
    if (table_[at] == hash) return false;
    if (table_[at] != 0) continue;
    table_[at] = hash;
    ++held_;
    return true;
  }
}

void UniqueKeys::grow() {
  const auto before = std::exchange(table_, std::vector<uint64_t>(std::max<size_t>(1024, table_.size() * 2)));
  const size_t mask = table_.size() - 1;
  for (const uint64_t hash : before) {
    if (hash == 0) continue;
    size_t at = hash & mask;
    while (table_[at] != 0) at = (at + 1) & mask;
    table_[at] = hash;
  }
}

}  // namespace lapidary
