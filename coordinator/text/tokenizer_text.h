#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lapidary {

/// Every `pattern` (not empty), from the left, becomes `content`.
struct Replace {
  std::string pattern;
  std::string content;
  std::string operator()(std::string_view text) const;
};

/// Puts `text` before anything that is not empty.
struct Prepend {
  std::string text;
};

/// What is done to a text, step by step, between the two passes of added tokens.
struct Normalizer {
  std::vector<std::variant<Replace, Prepend>> steps;
  std::string operator()(std::string_view text) const;
};

/// Cuts a text into words: each `pattern` ends the word before it. A second pattern in a row is a word of its
/// own. No pattern: the text is one word.
struct Splitter {
  std::string pattern;
  std::vector<std::string_view> operator()(std::string_view text) const;
};

struct ByteFallback {
};               // runs of "<0xHH>" become their bytes, or one U+FFFD a byte where these are not UTF-8
struct Fuse {};  // all pieces become one
struct Strip {   // up to `start` and `stop` times `content` (one character) is cut off a piece's ends
  std::string content;
  size_t start = 0;
  size_t stop = 0;
};

/// Pieces back to text. Without a step they are joined by spaces.
struct Decoder {
  bool present = false;
  std::vector<std::variant<Replace, ByteFallback, Fuse, Strip>> steps;
  std::string operator()(std::vector<std::string> pieces) const;

  /// Whether the text of many pieces is that of each alone, joined, but for runs of bytes.
  bool is_local() const;
  /// Whether a piece stands for a byte: what it becomes depends on all bytes of its run. Asked where
  /// is_local.
  bool is_byte(std::string_view piece) const;
};

}  // namespace lapidary
