#include "worker/images/orientation.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "configs/picture_format.h"

namespace lapidary {
namespace {

using Bytes = std::span<const uint8_t>;

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// A number of `count` bytes; zero where the bytes end earlier.
uint32_t number(Bytes bytes, size_t at, size_t count, bool little) {
  if (at > bytes.size() || bytes.size() - at < count) return 0;
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | bytes[at + (little ? count - 1 - i : i)];
  return value;
}

/// The end of what lies at `at`, cut to the file.
Bytes part(Bytes bytes, size_t at, size_t count) {
  if (at >= bytes.size()) return {};
  return bytes.subspan(at, std::min(count, bytes.size() - at));
}

/// The TIFF block behind EXIF's own six bytes, which some writers leave out.
Bytes without_name(Bytes exif) {
  return text_of(exif).starts_with(std::string_view("Exif\0\0", 6)) ? exif.subspan(6) : exif;
}

Bytes exif_of_jpeg(Bytes bytes) {
  constexpr uint32_t kApp1 = 0xffe1, kStartOfScan = 0xffda, kFill = 0xffff;
  for (size_t at = 2; at + 4 <= bytes.size();) {
    const uint32_t marker = number(bytes, at, 2, false);
    if (marker == kFill) {
      ++at;
      continue;
    }
    if (marker < 0xff00 || marker == kStartOfScan) return {};
    const size_t length = number(bytes, at + 2, 2, false);
    if (length < 2) return {};
    const Bytes data = part(bytes, at + 4, length - 2);
    if (marker == kApp1 && text_of(data).starts_with(std::string_view("Exif\0\0", 6))) return data;
    at += 2 + length;
  }
  return {};
}

Bytes exif_of_png(Bytes bytes) {
  for (size_t at = 8; at + 8 <= bytes.size();) {
    const size_t length = number(bytes, at, 4, false);
    if (text_of(part(bytes, at + 4, 4)) == "eXIf") return part(bytes, at + 8, length);
    at += 12 + length;
  }
  return {};
}

Bytes exif_of_webp(Bytes bytes) {
  for (size_t at = 12; at + 8 <= bytes.size();) {
    const size_t length = number(bytes, at + 4, 4, true);
    if (text_of(part(bytes, at, 4)) == "EXIF") return part(bytes, at + 8, length);
    at += 8 + length + length % 2;
  }
  return {};
}

Bytes exif_of(Bytes bytes) {
  switch (picture_format(text_of(bytes)).value_or(PictureFormat::jpeg)) {
    case PictureFormat::png:
      return exif_of_png(bytes);
    case PictureFormat::webp:
      return exif_of_webp(bytes);
    default:
      return exif_of_jpeg(bytes);
  }
}

/// Tag 0x112 of the first directory, one 16-bit number.
uint32_t orientation_of_tiff(Bytes tiff) {
  constexpr uint32_t kTag = 0x112, kShort = 3, kEntryBytes = 12;
  const bool little = text_of(tiff).starts_with("II");
  if (!little && !text_of(tiff).starts_with("MM")) return 1;
  const size_t directory = number(tiff, 4, 4, little);
  const uint32_t entries = number(tiff, directory, 2, little);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t at = directory + 2 + size_t{kEntryBytes} * i;
    if (at + kEntryBytes > tiff.size()) return 1;
    if (number(tiff, at, 2, little) == kTag && number(tiff, at + 2, 2, little) == kShort)
      return number(tiff, at + 8, 2, little);
  }
  return 1;
}

}  // namespace

int exif_orientation(Bytes bytes) {
  const uint32_t orientation = orientation_of_tiff(without_name(exif_of(bytes)));
  return orientation >= 1 && orientation <= 8 ? static_cast<int>(orientation) : 1;
}

Image upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool lies = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out = lies ? make_image(image.height, image.width) : make_image(image.width, image.height);
  for (int y = 0; y < out.height; ++y) {
    uint8_t* to = out.row(y);
    for (int x = 0; x < out.width; ++x, to += 3) {
      const int column = lies ? y : x, row = lies ? x : y;
      const uint8_t* from = image.row(from_below ? image.height - 1 - row : row) +
                            size_t{3} * static_cast<size_t>(from_right ? image.width - 1 - column : column);
      std::memcpy(to, from, 3);
    }
  }
  return out;
}

}  // namespace lapidary
