#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lapidary {

enum class PictureFormat : uint8_t { jpeg, png, webp };

/// So many first bytes tell a picture's format.
constexpr size_t kPictureHeadBytes = 12;

/// The format of a picture that can be read, by its first bytes; its name does not matter.
inline std::optional<PictureFormat> picture_format(std::string_view head) {
  if (head.starts_with("\xff\xd8\xff")) return PictureFormat::jpeg;
  if (head.starts_with("\x89PNG\r\n\x1a\n")) return PictureFormat::png;
  if (head.starts_with("RIFF") && head.size() >= 12 && head.substr(8).starts_with("WEBP"))
    return PictureFormat::webp;
  return std::nullopt;
}

}  // namespace lapidary
