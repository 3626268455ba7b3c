#include "coordinator/text/utf8.h"

#include <cstdint>
#include <cstring>

#include "configs/error.h"

namespace lapidary {
namespace {

unsigned char byte_at(std::string_view text, size_t at) { return static_cast<unsigned char>(text[at]); }

/// Length of the well-formed character at `at`, 0 where there is none.
size_t well_formed(std::string_view text, size_t at) {
  const unsigned char first = byte_at(text, at);
  if (first < 0x80) return 1;
  const size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (first < 0xc2 || first > 0xf4 || text.size() - at < length) return 0;
  // The second byte's range is what shuts out overlong forms, surrogates and all beyond U+10FFFF.
  const unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte_at(text, at + 1) < least || byte_at(text, at + 1) > most) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte_at(text, at + i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

std::optional<size_t> invalid_utf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight = 0;
    if (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080u) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const size_t length = well_formed(text, at);
    if (length == 0) return at;
    at += length;
  }
  return std::nullopt;
}

void require_utf8(std::string_view text, std::string_view what) {
  if (const auto at = invalid_utf8(text)) {
    fail(what, " is not valid UTF-8: no character begins at byte ", *at, " of ", text.size());
  }
}

char32_t first_character(std::string_view text) {
  const size_t length = utf8_length(text[0]);
  if (length == 1) return byte_at(text, 0);
  char32_t character = byte_at(text, 0) & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) character = character << 6 | (byte_at(text, i) & 0x3fu);
  return character;
}

char32_t last_character(std::string_view text) {
  size_t begin = text.size() - 1;
  while ((byte_at(text, begin) & 0xc0) == 0x80) --begin;
  return first_character(text.substr(begin));
}

bool is_space(char32_t c) {
  return (c >= 0x9 && c <= 0xd) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

}  // namespace lapidary
