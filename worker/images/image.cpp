#include "worker/images/image.h"

#include <fstream>
#include <new>
#include <system_error>

#include "configs/error.h"
#include "configs/picture_format.h"
#include "worker/images/file_kind.h"
#include "worker/images/image_formats.h"

namespace lapidary {
namespace {

Image decode_known(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  const auto format = picture_format({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (format == PictureFormat::jpeg) return decode_jpeg(bytes, limits);
  if (format == PictureFormat::png) return decode_png(bytes, limits);
  if (format == PictureFormat::webp) return decode_webp(bytes, limits);
  fail("not a JPEG, PNG or WebP image but ", kind_of_file(bytes));
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
}

Image decode_image(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  if (bytes.empty()) fail("an empty file (0 bytes), not an image");
  try {
    return decode_known(bytes, limits);
  } catch (const std::bad_alloc&) {
    fail("not enough memory to decode this image");
  }
}

Image read_image(const std::filesystem::path& path, const ImageLimits& limits) {
  try {
    return decode_image(read_bytes(path, limits.max_bytes), limits);
  } catch (const Error& error) {
    fail(path.string(), ": ", error.what());
  }
}

std::array<float, 256> normalise_table(float mean, float std, double rescale) {
  std::array<float, 256> table;
  for (int x = 0; x < 256; ++x) {
    const float scaled = static_cast<float>(x * rescale);
    table[static_cast<size_t>(x)] = (scaled - mean) / std;
  }
  return table;
}

}  // namespace lapidary
