#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "worker/images/image_formats.h"
#include "worker/images/png_chunks.h"
#include "worker/images/png_state.h"

namespace lapidary {
namespace {

constexpr size_t kBlock = 64 << 10;  // what Pillow gives to zlib at a time

/// How the pixels lie in memory when libpng hands them over; all other kinds are turned to RGB by libpng.
enum class Layout { kRgb, kRgba, kPalette, kGrey16 };

/// libpng reads a file that is written anew around the pixels of the one that was given: header, one IDAT,
/// end. What else the given one holds, and what is wrong with it, read_png_chunks has dealt with.
struct PngReader : PngState {
  const PngChunks& chunks;
  std::array<uint8_t, 64> head{};
  std::array<uint8_t, 16> tail{};
  std::vector<std::span<const uint8_t>> input;  // head, pixels, tail; shrinks as they are read
  size_t next_input = 0;
  int64_t pixel_bits = 0;     // in the file
  int64_t decoded_bytes = 0;  // of filtered rows that are whole

  explicit PngReader(const PngChunks& png_chunks);
};

size_t put_chunk_head(uint8_t* out, std::string_view name, size_t length) {
  for (size_t i = 0; i < 4; ++i) out[i] = static_cast<uint8_t>(length >> (24 - 8 * i));
  std::memcpy(out + 4, name.data(), 4);
  return 8;
}

/// Checksums are left zero: libpng is told not to look.
PngReader::PngReader(const PngChunks& png_chunks) : chunks(png_chunks) {
  static constexpr uint8_t kSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  constexpr size_t kChecksum = 4;
  uint8_t* out = std::copy(std::begin(kSignature), std::end(kSignature), head.data());
  out += put_chunk_head(out, "IHDR", 13);
  for (const uint32_t side : {chunks.width, chunks.height})
    for (int shift = 24; shift >= 0; shift -= 8) *out++ = static_cast<uint8_t>(side >> shift);
  *out++ = chunks.bit_depth;
  *out++ = chunks.colour_type;
  out += 2;  // compression and filters of kind 0
  *out++ = chunks.interlaced;
  out += kChecksum;
  if (chunks.colour_type == PNG_COLOR_TYPE_PALETTE)  // one colour contents libpng, which hands indices over
    out += put_chunk_head(out, "PLTE", 3) + 3 + kChecksum;
  out += put_chunk_head(out, "IDAT", chunks.data_bytes);
  put_chunk_head(tail.data() + kChecksum, "IEND", 0);

  input.push_back(std::span(head).first(static_cast<size_t>(out - head.data())));
  input.insert(input.end(), chunks.data.begin(), chunks.data.end());
  input.push_back(tail);
}

void read_bytes(png_structp png, png_bytep out, size_t count) {
  auto& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
  while (count > 0) {
    if (reader.next_input == reader.input.size()) png_error(png, "the file ends early (truncated)");
    std::span<const uint8_t>& from = reader.input[reader.next_input];
    const size_t now = std::min(count, from.size());
    std::memcpy(out, from.data(), now);
    out += now;
    count -= now;
    from = from.subspan(now);
    if (from.empty()) ++reader.next_input;
  }
}

bool open_reader(PngReader& reader) {
  PngState* const state = &reader;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, state, on_png_error, on_png_warning);
  if (reader.png == nullptr) return false;
  if (setjmp(reader.failed)) return false;
  reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) return false;
  png_set_read_fn(reader.png, &reader, read_bytes);
  png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_image_size has the word
  png_set_crc_action(reader.png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
  // There are encoders that state a smaller window than they used.
  png_set_option(reader.png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
  png_set_check_for_invalid_index(reader.png, 0);  // palette_of has a colour for each
  png_set_compression_buffer_size(reader.png, kBlock);
  png_read_info(reader.png, reader.info);
  return true;
}

int64_t filtered_row_bytes(const PngReader& reader, uint32_t pixels) {
  return (pixels * reader.pixel_bits + 7) / 8 + 1;
}

/// Called for each row (of each pass) once it is whole.
void count_row(png_structp png, png_row_infop row, png_bytep) {
  auto& reader = *static_cast<PngReader*>(png_get_user_transform_ptr(png));
  reader.decoded_bytes += filtered_row_bytes(reader, row->width);
}

int64_t filtered_bytes(const PngReader& reader) {
  const auto [width, height] = std::pair(reader.chunks.width, reader.chunks.height);
  if (!reader.chunks.interlaced) return height * filtered_row_bytes(reader, width);
  int64_t bytes = 0;
  for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; ++pass)
    if (const uint32_t columns = PNG_PASS_COLS(width, pass); columns > 0)
      bytes += int64_t{PNG_PASS_ROWS(height, pass)} * filtered_row_bytes(reader, columns);
  return bytes;
}

size_t pixel_bytes(Layout layout) {
  switch (layout) {
    case Layout::kRgb:
      return 3;
    case Layout::kRgba:
      return 4;
    case Layout::kGrey16:
      return 2;
    default:
      return 1;
  }
}

/// Bytes in which a pixel is read and changed.
size_t place_bytes(Layout layout) { return layout == Layout::kRgba ? 4 : 3; }

/// Asks libpng for one of the layouts and reads all rows. Row y is stored at the end of its place in
/// `rows`, so that spreading it to RGB can go from left to right over itself.
bool read_rows(PngReader& reader, Layout layout, uint8_t* rows, size_t width, int height) {
  if (setjmp(reader.failed)) return false;
  const png_byte type = png_get_color_type(reader.png, reader.info);
  if (layout == Layout::kPalette) png_set_packing(reader.png);
  if (layout == Layout::kRgb || layout == Layout::kRgba) {
    png_set_strip_16(reader.png);
    if (layout == Layout::kRgb) png_set_strip_alpha(reader.png);
    if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(reader.png);
    if ((type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(reader.png);
  }
  png_set_read_user_transform_fn(reader.png, count_row);
  png_set_user_transform_info(reader.png, &reader, 0, 0);
  const int passes = png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  const size_t row_bytes = width * pixel_bytes(layout), place = width * place_bytes(layout);
  if (png_get_rowbytes(reader.png, reader.info) != row_bytes)
    png_error(reader.png, "rows of an unexpected length");
  for (int pass = 0; pass < passes; ++pass)
    for (int y = 0; y < height; ++y)
      png_read_row(reader.png, rows + static_cast<size_t>(y + 1) * place - row_bytes, nullptr);
  return true;
}

/// How many bytes of rows the pixels' zlib stream gives, which must end in order; -1 when it does not.
int64_t inflated_bytes(const PngChunks& chunks) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return -1;
  std::vector<uint8_t> rows(kBlock);
  int64_t bytes = 0;
  int result = Z_OK;
  for (const auto& piece : chunks.data) {
    stream.next_in = const_cast<uint8_t*>(piece.data());
    stream.avail_in = static_cast<uInt>(piece.size());
    while (result == Z_OK && stream.avail_in > 0) {
      stream.next_out = rows.data();
      stream.avail_out = static_cast<uInt>(rows.size());
      result = inflate(&stream, Z_NO_FLUSH);
      bytes += static_cast<int64_t>(rows.size() - stream.avail_out);
    }
  }
  inflateEnd(&stream);
  return result == Z_STREAM_END ? bytes : -1;
}

/// Pillow asks for no more than this: all rows, whatever follows them; or a sound stream of whole rows,
/// though of fewer, and the rest stays as it was.
bool has_enough_rows(const PngReader& reader) {
  if (reader.decoded_bytes == filtered_bytes(reader)) return true;
  return reader.decoded_bytes > 0 && reader.decoded_bytes == inflated_bytes(reader.chunks);
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

/// Colours beyond the end of the palette are black; so are all where there is none. What is transparent of
/// them is blended here, once for all pixels.
void palette_of(const PngChunks& chunks, Alpha alpha, uint8_t (&colours)[256][3]) {
  std::memset(colours, 0, sizeof(colours));
  std::copy(chunks.palette.begin(), chunks.palette.end(), &colours[0][0]);
  for (size_t i = 0; i < std::min<size_t>(256, chunks.transparency.size()); ++i) {
    const uint8_t rgba[4] = {colours[i][0], colours[i][1], colours[i][2], chunks.transparency[i]};
    blend(rgba, colours[i], 1, alpha);
  }
}

/// The one transparent colour of a grey or RGB picture in 8 bits, as Pillow reads it: the low byte of each
/// number, whatever the depth, and white for any but zero where there are two greys.
std::optional<std::array<uint8_t, 3>> transparent_colour(const PngChunks& chunks) {
  const std::span<const uint8_t> two_bytes_each = chunks.transparency;
  const bool grey = chunks.colour_type == PNG_COLOR_TYPE_GRAY;
  if ((!grey && chunks.colour_type != PNG_COLOR_TYPE_RGB) || two_bytes_each.size() < (grey ? 2u : 6u))
    return std::nullopt;
  std::array<uint8_t, 3> colour{};
  for (size_t c = 0; c < 3; ++c) colour[c] = two_bytes_each[grey ? 1 : 2 * c + 1];
  if (grey && chunks.bit_depth == 1) colour.fill(two_bytes_each[0] != 0 || two_bytes_each[1] != 0 ? 255 : 0);
  return colour;
}

void paint_over(Image& image, const std::array<uint8_t, 3>& colour, uint8_t ground) {
  for (size_t i = 0; i < image.rgb.size(); i += 3)
    if (std::equal(colour.begin(), colour.end(), image.rgb.data() + i))
      std::fill_n(image.rgb.data() + i, 3, ground);
}

Layout layout_of(const PngChunks& chunks, bool blends) {
  if (chunks.colour_type == PNG_COLOR_TYPE_PALETTE) return Layout::kPalette;
  if (chunks.colour_type == PNG_COLOR_TYPE_GRAY && chunks.bit_depth == 16) return Layout::kGrey16;
  return blends && (chunks.colour_type & PNG_COLOR_MASK_ALPHA) != 0 ? Layout::kRgba : Layout::kRgb;
}

/// From what libpng gave to RGB, in place.
void make_rgb(Image& image, Layout layout, const PngChunks& chunks, Alpha alpha) {
  const auto width = static_cast<size_t>(image.width);
  uint8_t colours[256][3];
  if (layout == Layout::kPalette) palette_of(chunks, alpha, colours);
  for (int y = 0; y < image.height; ++y) {
    if (layout == Layout::kPalette) spread_palette(image.row(y), width, colours);
    if (layout == Layout::kGrey16) spread_grey16(image.row(y), width);
    if (layout == Layout::kRgba)
      blend(image.rgb.data() + static_cast<size_t>(y) * width * 4, image.row(y), width, alpha);
  }
  image.rgb.resize(image.row_bytes() * static_cast<size_t>(image.height));
}

/// libpng's words, but for its most frequent sentence, which tells nobody what to do.
[[noreturn]] void throw_reading_failure(const PngReader& reader) {
  if (std::string_view(reader.message) == "Not enough image data")
    fail("broken PNG: its pixels end early (truncated)");
  throw_png_failure(reader, "broken PNG");
}

}  // namespace

Image decode_png(std::span<const uint8_t> bytes, const ImageLimits& limits, Alpha alpha) {
  const PngChunks chunks = read_png_chunks(bytes);
  PngReader reader(chunks);
  if (!open_reader(reader)) throw_reading_failure(reader);
  const size_t width = chunks.width;
  check_image_size("PNG", chunks.width, chunks.height, limits);
  const bool blends = alpha == Alpha::white || alpha == Alpha::black;
  const Layout layout = layout_of(chunks, blends);
  check_image_memory("PNG", int64_t{chunks.width} * chunks.height * static_cast<int64_t>(place_bytes(layout)),
                     limits);
  reader.pixel_bits = int64_t{png_get_channels(reader.png, reader.info)} * chunks.bit_depth;

  Image image{static_cast<int>(chunks.width), static_cast<int>(chunks.height), {}};
  image.rgb.resize(width * chunks.height * place_bytes(layout));
  if (!read_rows(reader, layout, image.rgb.data(), width, image.height) && !has_enough_rows(reader))
    throw_reading_failure(reader);
  if (layout != Layout::kRgb) make_rgb(image, layout, chunks, alpha);
  if (const auto colour = transparent_colour(chunks); colour && blends)
    paint_over(image, *colour, alpha == Alpha::white ? 255 : 0);
  return image;
}

}  // namespace lapidary
