#include "worker/images/image.h"

#include <cstring>
#include <fstream>
#include <new>
#include <system_error>

#include "configs/error.h"
#include "configs/picture_format.h"
#include "worker/images/file_kind.h"
#include "worker/images/image_formats.h"

namespace lapidary {
namespace {

Image decode_known(std::span<const uint8_t> bytes, const ImageLimits& limits, Alpha alpha) {
  const auto format = picture_format({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (format == PictureFormat::jpeg) return decode_jpeg(bytes, limits);
  if (format == PictureFormat::png) return decode_png(bytes, limits, alpha);
  if (format == PictureFormat::webp) return decode_webp(bytes, limits, alpha);
  fail("not a JPEG, PNG or WebP image but ", kind_of_file(bytes));
}

/// round(value / 255) for products of two bytes and sums of such that stay below 255 * 255: Pillow's way.
int rounded_255th(int value) {
  constexpr int kMoreBits = 7;
  const int scaled = (value << kMoreBits) + (0x80 << kMoreBits);
  return ((scaled >> 8) + scaled) >> 8 >> kMoreBits;
}

std::vector<uint8_t> read_bytes(const std::filesystem::path& path, int64_t max_bytes) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) fail("no such file");
  if (std::filesystem::is_directory(status)) fail("a folder, not an image");
  if (!std::filesystem::is_regular_file(status)) fail("not a regular file");
  const auto size = std::filesystem::file_size(path, error);
  if (error) fail("cannot be read: ", error.message());
  if (size > static_cast<uintmax_t>(max_bytes))
    fail("has ", size, " bytes, more than the limit of ", max_bytes, " for an image file");
  std::vector<uint8_t> bytes(size);
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("cannot be opened");
  if (size > 0 && !in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size)))
    fail("ended after ", in.gcount(), " of ", size, " bytes");
  return bytes;
}

/// round(a * b / 255) for bytes.
int times_of_255(int a, int b) {
  const int t = a * b + 128;
  return ((t >> 8) + t) >> 8;
}

}  // namespace

Image make_image(int width, int height) {
  if (width <= 0 || height <= 0) fail("an image of ", width, " x ", height, " pixels: both must be positive");
  return {width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
}

void check_image_size(const char* format, int64_t width, int64_t height, const ImageLimits& limits) {
  if (width <= 0 || height <= 0) fail(format, " of ", width, " x ", height, " pixels: both must be positive");
  if (width > limits.max_side || height > limits.max_side)
    fail(format, " of ", width, " x ", height, " pixels: a side is longer than the limit of ",
         limits.max_side);
  if (width * height > limits.max_pixels)
    fail(format, " of ", width, " x ", height, " = ", width * height, " pixels, more than the limit of ",
         limits.max_pixels, " (a decompression bomb?)");
}

void check_image_memory(const char* format, int64_t bytes, const ImageLimits& limits) {
  if (bytes > limits.max_memory_bytes)
    fail(format, " that takes ", bytes, " bytes of memory to decode, more than the limit of ",
         limits.max_memory_bytes);
  if (limits.before_decoding) limits.before_decoding(bytes);
}

void cmyk_to_rgb(const uint8_t* inks, uint8_t* rgb, int pixels) {
  for (int i = 0; i < pixels; ++i, inks += 4, rgb += 3)
    for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>(inks[3] - times_of_255(255 - inks[c], inks[3]));
}

void blend(const uint8_t* rgba, uint8_t* rgb, size_t pixels, Alpha alpha) {
  if (alpha != Alpha::white && alpha != Alpha::black) {
    for (size_t i = 0; i < pixels; ++i, rgba += 4, rgb += 3) std::memmove(rgb, rgba, 3);
    return;
  }
  const int ground = alpha == Alpha::white ? 255 : 0;
  for (size_t i = 0; i < pixels; ++i, rgba += 4, rgb += 3) {
    const int opacity = rgba[3];
    for (size_t c = 0; c < 3; ++c)
      rgb[c] = static_cast<uint8_t>(rounded_255th(rgba[c] * opacity + ground * (255 - opacity)));
  }
}

Image decode_image(std::span<const uint8_t> bytes, const ImageLimits& limits, Alpha alpha) {
  if (bytes.empty()) fail("an empty file (0 bytes), not an image");
  try {
    return decode_known(bytes, limits, alpha);
  } catch (const std::bad_alloc&) {
    fail("not enough memory to decode this image");
  }
}

std::vector<uint8_t> read_image_file(const std::filesystem::path& path, const ImageLimits& limits) {
  try {
    return read_bytes(path, limits.max_bytes);
  } catch (const Error& error) {
    fail(path.string(), ": ", error.what());
  }
}

Image read_image(const std::filesystem::path& path, const ImageLimits& limits) {
  try {
    return decode_image(read_bytes(path, limits.max_bytes), limits);
  } catch (const Error& error) {
    fail(path.string(), ": ", error.what());
  }
}

}  // namespace lapidary
