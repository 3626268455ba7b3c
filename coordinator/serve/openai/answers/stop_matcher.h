#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

/// Looks for stop strings in a text that comes in pieces, each byte once (Knuth, Morris and Pratt). The first
/// place where one ends is the stop; of several that end there, the longest.
class StopMatcher {
 public:
  /// None of them is empty.
  explicit StopMatcher(std::vector<std::string> strings);

  struct Stop {
    size_t end;                 // bytes of the piece up to and with the stop string
    const std::string* string;  // alive as long as the matcher
  };
  /// Nothing is to be added after a stop.
  std::optional<Stop> add(std::string_view piece);
  /// Bytes at the end of all that was added that may yet become a stop string.
  size_t pending() const;

 private:
  struct Pattern {
    explicit Pattern(std::string pattern);
    void advance(char byte);

    std::string text;
    std::vector<size_t> borders;  // at n: the longest proper prefix that also ends the first n bytes
    size_t matched = 0;           // the longest prefix that ends what was added
  };

  std::vector<Pattern> patterns_;
};

}  // namespace lapidary
