#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace lapidary {

/// The first byte that does not belong to a well-formed character (RFC 3629: no overlong forms, no
/// surrogates, nothing beyond U+10FFFF); empty where all is well.
std::optional<size_t> invalid_utf8(std::string_view text);

/// Throws one sentence, "<what> is not valid UTF-8: …", that names the byte.
void require_utf8(std::string_view text, std::string_view what);

/// Bytes of the character that begins with `first`, in valid UTF-8.
inline size_t utf8_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/// First and last character of a text that is not empty, in valid UTF-8.
char32_t first_character(std::string_view text);
char32_t last_character(std::string_view text);

/// Unicode's White_Space, and what a regular expression's \w means (letters, marks, decimal digits,
/// connectors).
bool is_space(char32_t character);
bool is_word(char32_t character);

}  // namespace lapidary
