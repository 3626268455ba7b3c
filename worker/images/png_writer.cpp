#include <cstring>
#include <fstream>
#include <new>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "worker/images/image_formats.h"
#include "worker/images/png_state.h"

namespace lapidary {
namespace {

struct PngWriter : PngState {
  std::vector<uint8_t> file;

  PngWriter() { writes = true; }
};

void write_bytes(png_structp png, png_bytep data, size_t count) {
  auto& file = static_cast<PngWriter*>(png_get_io_ptr(png))->file;
  bool stored = true;
  try {
    file.insert(file.end(), data, data + count);
  } catch (const std::bad_alloc&) {
    stored = false;  // an exception must not cross libpng's C frames
  }
  if (!stored) png_error(png, "not enough memory");
}

void flush_nothing(png_structp) {}

bool write_rows(PngWriter& state, const Image& image) {
  state.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, static_cast<PngState*>(&state), on_png_error,
                                      on_png_warning);
  if (state.png == nullptr) return false;
  if (setjmp(state.failed)) return false;
  state.info = png_create_info_struct(state.png);
  if (state.info == nullptr) return false;
  png_set_write_fn(state.png, &state, write_bytes, flush_nothing);
  png_set_user_limits(state.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_IHDR(state.png, state.info, static_cast<png_uint_32>(image.width),
               static_cast<png_uint_32>(image.height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(state.png, state.info);
  for (int y = 0; y < image.height; ++y) png_write_row(state.png, image.row(y));
  png_write_end(state.png, state.info);
  return true;
}

}  // namespace

std::vector<uint8_t> encode_png(const Image& image) {
  check_image_size("PNG", image.width, image.height, {.max_pixels = INT64_MAX, .max_side = INT32_MAX});
  if (image.rgb.size() != image.row_bytes() * static_cast<size_t>(image.height))
    throw std::logic_error("encode_png: the pixels do not fill the picture");
  PngWriter writer;
  if (!write_rows(writer, image)) throw_png_failure(writer, "cannot encode a PNG");
  return std::move(writer.file);
}

void write_png(const std::filesystem::path& path, const Image& image) {
  const std::vector<uint8_t> file = encode_png(image);
  std::ofstream out(path, std::ios::binary);
  if (!out) fail(path.string(), ": cannot be opened for writing");
  out.write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  out.close();
  if (out) return;
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) std::filesystem::remove(path, ignored);
  fail(path.string(), ": could not write its ", file.size(), " bytes (disk full?)");
}

}  // namespace lapidary
