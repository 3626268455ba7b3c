#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lapidary {

/// Which items of a job have records, 8 bytes each, by a hash of 63 bits (its last bit is ignored): of nine
/// million items two share one with a probability of 1 in 200,000. A hash that was added twice can be taken
/// twice.
class DoneSet {
 public:
  /// Before a known number of `add`s: no memory beyond theirs.
  void reserve(size_t more);
  void add(uint64_t hash);
  /// After the last `add`, before the first `take`.
  void seal();

  /// Whether it is there and was not taken; then it is.
  bool take(uint64_t hash);
  size_t size() const { return hashes_.size(); }

 private:
  std::vector<uint64_t> hashes_;  // sorted; last bit: taken
  std::vector<uint32_t> starts_;  // where hashes with the same first kBucketBits begin
};

}  // namespace lapidary
