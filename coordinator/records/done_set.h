#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace lapidary {

/// Which items of a job have records, and the hashes of their keys; 16 bytes each. Items are known by 63 bits
/// (the last one is ignored): of nine million, two share them with a probability of 1 in 200,000. What was
/// added twice can be taken twice.
class DoneSet {
 public:
  /// Before a known number of `add`s: no memory beyond theirs.
  void reserve(size_t more);
  void add(uint64_t item, uint64_t key);
  /// After the last `add`, before the first `take`.
  void seal();

  /// The key's hash where the item is there and was not taken; then it is.
  std::optional<uint64_t> take(uint64_t item);
  size_t size() const { return entries_.size(); }
  template <class Visit>
  void each_key(const Visit& visit) const {
    for (const Entry& entry : entries_) visit(entry.key);
  }

 private:
  struct Entry {
    uint64_t item;  // last bit: taken
    uint64_t key;
  };
  std::vector<Entry> entries_;    // sorted by item
  std::vector<uint32_t> starts_;  // where items with the same first kBucketBits begin
};

}  // namespace lapidary
