#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lapidary {

/// `text` where it is UTF-8; else with its other bytes as "\xe9", as Python's backslashreplace has them.
std::string as_utf8(std::string_view text);

/// Keys, no two alike. Holds 11 to 22 bytes a key. (Keys that share a 64-bit hash count as alike: of a
/// hundred million, one gets a number without need with a probability of 1 in 3,700.)
class UniqueKeys {
 public:
  /// `key` as UTF-8, with "#2", "#3", … behind it where it was given before.
  std::string unique(std::string_view key);
  /// How many got a number.
  int64_t numbered() const { return numbered_; }
  /// Later keys differ from the earlier ones by what they begin with.
  void forget();

 private:
  bool insert(uint64_t hash);
  void grow();

  std::vector<uint64_t> table_;  // open addressing; 0: free
  size_t held_ = 0;
  std::unordered_map<uint64_t, int64_t> times_;  // of keys given more than once
  int64_t numbered_ = 0;
};

}  // namespace lapidary
