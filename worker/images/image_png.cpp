#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <new>
#include <system_error>

#include "configs/error.h"
#include "worker/images/image_formats.h"

namespace lapidary {
namespace {

/// libpng's state, for reading or writing, and how it fails. libpng reports an error by a callback that must
/// not return, so the functions below that call into it hold nothing with a destructor: the jump back skips
/// none.
struct PngState {
  png_structp png = nullptr;
  png_infop info = nullptr;
  bool writes = false;
  std::jmp_buf failed;
  char message[160] = "";
  std::span<const uint8_t> input;          // what is still to be read
  std::vector<uint8_t>* output = nullptr;  // where writing goes

  ~PngState() {
    writes ? png_destroy_write_struct(&png, &info) : png_destroy_read_struct(&png, &info, nullptr);
  }
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto& state = *static_cast<PngState*>(png_get_error_ptr(png));
  std::snprintf(state.message, sizeof(state.message), "%s", message);
  std::longjmp(state.failed, 1);
}

void on_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep out, size_t count) {
  auto& state = *static_cast<PngState*>(png_get_io_ptr(png));
  if (count > state.input.size()) png_error(png, "the file ends early (truncated)");
  std::memcpy(out, state.input.data(), count);
  state.input = state.input.subspan(count);
}

void write_bytes(png_structp png, png_bytep data, size_t count) {
  auto& state = *static_cast<PngState*>(png_get_io_ptr(png));
  bool stored = true;
  try {
    state.output->insert(state.output->end(), data, data + count);
  } catch (const std::bad_alloc&) {
    stored = false;  // an exception must not cross libpng's C frames
  }
  if (!stored) png_error(png, "not enough memory");
}

void flush_nothing(png_structp) {}

bool open_reader(PngState& state) {
  state.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
  if (state.png == nullptr) return false;
  if (setjmp(state.failed)) return false;
  state.info = png_create_info_struct(state.png);
  if (state.info == nullptr) return false;
  png_set_read_fn(state.png, &state, read_bytes);
  png_set_user_limits(state.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_image_size has the word
  // Gamma, profiles and texts do not change what is read here; unread, they cannot take memory either.
  png_set_keep_unknown_chunks(state.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(state.png, state.info);
  return true;
}

/// How the pixels lie in memory when libpng hands them over; all other kinds are turned to RGB by libpng.
enum class Layout { kRgb, kPalette, kGrey16 };

/// Asks libpng for one of the three layouts and reads all rows. Row y is stored at the end of its place in
/// `rgb`, so that spreading it to RGB can go from left to right over itself.
bool read_rows(PngState& state, Layout layout, uint8_t* rgb, size_t width, int height) {
  if (setjmp(state.failed)) return false;
  const png_byte type = png_get_color_type(state.png, state.info);
  if (layout == Layout::kPalette) png_set_packing(state.png);
  if (layout == Layout::kRgb) {
    png_set_strip_16(state.png);
    png_set_strip_alpha(state.png);
    if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(state.png);
    if ((type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(state.png);
  }
  const int passes = png_set_interlace_handling(state.png);
  png_read_update_info(state.png, state.info);
  const size_t row_bytes = layout == Layout::kRgb ? width * 3 : layout == Layout::kGrey16 ? width * 2 : width;
  if (png_get_rowbytes(state.png, state.info) != row_bytes)
    png_error(state.png, "rows of an unexpected length");
  for (int pass = 0; pass < passes; ++pass)
    for (int y = 0; y < height; ++y)
      png_read_row(state.png, rgb + static_cast<size_t>(y + 1) * width * 3 - row_bytes, nullptr);
  return true;
}

void spread_palette(uint8_t* row, size_t width, const uint8_t (&colours)[256][3]) {
  const uint8_t* index = row + 2 * width;
  for (size_t x = 0; x < width; ++x) {
    const uint8_t* colour = colours[index[x]];
    for (size_t c = 0; c < 3; ++c) row[3 * x + c] = colour[c];
  }
}

void spread_grey16(uint8_t* row, size_t width) {
  const uint8_t* grey = row + width;  // high byte first
  for (size_t x = 0; x < width; ++x) {
    const uint8_t value = grey[2 * x] != 0 ? 255 : grey[2 * x + 1];
    for (size_t c = 0; c < 3; ++c) row[3 * x + c] = value;
  }
}

/// Colours beyond the end of the palette are black.
void palette_of(PngState& state, uint8_t (&colours)[256][3]) {
  png_colorp palette = nullptr;
  int count = 0;
  std::memset(colours, 0, sizeof(colours));
  if (png_get_PLTE(state.png, state.info, &palette, &count) != PNG_INFO_PLTE) return;
  for (int i = 0; i < count && i < 256; ++i) {
    colours[i][0] = palette[i].red;
    colours[i][1] = palette[i].green;
    colours[i][2] = palette[i].blue;
  }
}

bool write_rows(PngState& state, const Image& image) {
  state.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
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

[[noreturn]] void throw_failure(const PngState& state, const char* what) {
  fail(what, ": ", state.message[0] != '\0' ? state.message : "not enough memory");
}

}  // namespace

Image decode_png(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  PngState state;
  state.input = bytes;
  if (!open_reader(state)) throw_failure(state, "broken PNG");
  const auto width = png_get_image_width(state.png, state.info);
  const auto height = png_get_image_height(state.png, state.info);
  check_image_size("PNG", width, height, limits);
  const png_byte type = png_get_color_type(state.png, state.info);
  const bool grey16 = type == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(state.png, state.info) == 16;
  const Layout layout = type == PNG_COLOR_TYPE_PALETTE ? Layout::kPalette
                        : grey16                       ? Layout::kGrey16
                                                       : Layout::kRgb;

  Image image = make_image(static_cast<int>(width), static_cast<int>(height));
  if (!read_rows(state, layout, image.rgb.data(), width, image.height)) throw_failure(state, "broken PNG");
  uint8_t colours[256][3];
  if (layout == Layout::kPalette) palette_of(state, colours);
  for (int y = 0; y < image.height && layout != Layout::kRgb; ++y)
    layout == Layout::kPalette ? spread_palette(image.row(y), width, colours)
                               : spread_grey16(image.row(y), width);
  return image;
}

std::vector<uint8_t> encode_png(const Image& image) {
  check_image_size("PNG", image.width, image.height, {.max_pixels = INT64_MAX, .max_side = INT32_MAX});
  if (image.rgb.size() != image.row_bytes() * static_cast<size_t>(image.height))
    throw std::logic_error("encode_png: the pixels do not fill the picture");
  std::vector<uint8_t> file;
  PngState state;
  state.writes = true;
  state.output = &file;
  if (!write_rows(state, image)) throw_failure(state, "cannot encode a PNG");
  return file;
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
