#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace lapidary {

/// Bytes that well-formed base64 of this text would have. Reads its last two characters alone.
size_t base64_bytes(std::string_view text);

/// The bytes, or the place of the first character that does not belong: strict (RFC 4648, section 4), so
/// whole groups of four with padding, no white space, no other alphabet, and nothing in bits that are not
/// used.
struct Base64Result {
  std::string bytes;
  std::optional<size_t> bad;
};
Base64Result decode_base64(std::string_view text);

}  // namespace lapidary
