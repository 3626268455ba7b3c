#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

// jpeglib.h needs stdio's FILE and size_t before it.
#include <jpeglib.h>
// jpeglib.h before it.
#include <jerror.h>

#include "configs/error.h"
#include "worker/images/image_formats.h"
#include "worker/jpeg/scans.h"
#include "worker/jpeg/smoothing.h"

namespace lapidary {
namespace {

/// More passes over a picture of any size than encoders make: a few bytes a pass would otherwise buy minutes
/// of work.
constexpr int kMaxScans = 500;
constexpr int kCmyk = 4;

/// libjpeg's state and how it fails. libjpeg reports an error by a callback that must not return, so the
/// functions below that call into it hold nothing with a destructor: the jump back to them skips none.
struct JpegReader {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_source_mgr source;
  jpeg_progress_mgr progress;
  std::jmp_buf failed;
  char message[JMSG_LENGTH_MAX];
  bool truncated;
  int max_scans;
};

JpegReader& reader_of(j_common_ptr info) { return *static_cast<JpegReader*>(info->client_data); }

[[noreturn]] void on_error(j_common_ptr info) {
  JpegReader& reader = reader_of(info);
  reader.errors.format_message(info, reader.message);
  std::longjmp(reader.failed, 1);
}

/// Warnings (damaged entropy data, junk between markers) pass, as they do in Pillow.
void on_message(j_common_ptr) {}

/// Behind check_scans, for files whose scans libjpeg finds where count_jpeg_scans does not.
void on_progress(j_common_ptr info) {
  JpegReader& reader = reader_of(info);
  if (reader.info.input_scan_number <= reader.max_scans) return;
  std::snprintf(reader.message, sizeof(reader.message), "it has more than %d scans of %u x %u pixels",
                reader.max_scans, reader.info.image_width, reader.info.image_height);
  std::longjmp(reader.failed, 1);
}

void no_operation(j_decompress_ptr) {}

/// All bytes are given at the start. To ask for more suspends the decoder, which is how the end of the file
/// is noticed; libjpeg's own source would invent an end marker and paint the rest grey.
boolean no_more_bytes(j_decompress_ptr info) {
  reader_of(reinterpret_cast<j_common_ptr>(info)).truncated = true;
  return FALSE;
}

void skip_bytes(j_decompress_ptr info, long count) {
  jpeg_source_mgr& source = *info->src;
  if (count <= 0) return;
  const size_t step = static_cast<size_t>(count) < source.bytes_in_buffer ? static_cast<size_t>(count)
                                                                          : source.bytes_in_buffer;
  source.next_input_byte += step;
  source.bytes_in_buffer -= step;
}

/// False with a message (or `truncated`) when the header can't be read.
bool read_header(JpegReader& reader, const uint8_t* data, size_t size) {
  if (setjmp(reader.failed)) return false;
  reader.info.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = on_error;
  reader.errors.output_message = on_message;
  reader.info.client_data = &reader;
  jpeg_create_decompress(&reader.info);
  reader.progress.progress_monitor = on_progress;
  reader.info.progress = &reader.progress;
  reader.source = {data, size, no_operation, no_more_bytes, skip_bytes, jpeg_resync_to_restart, no_operation};
  reader.info.src = &reader.source;
  return jpeg_read_header(&reader.info, TRUE) == JPEG_HEADER_OK;
}

/// All scans of a progressive file, and what they lack; false when the file ends before its end mark.
bool read_scans(JpegReader& reader) {
  int state;
  do {
    state = jpeg_consume_input(&reader.info);
    on_progress(reinterpret_cast<j_common_ptr>(&reader.info));
  } while (state != JPEG_REACHED_EOI && state != JPEG_SUSPENDED);
  if (state == JPEG_SUSPENDED) return false;
  smooth_blocks(reader.info);
  return jpeg_start_output(&reader.info, reader.info.input_scan_number);
}

/// Decodes all rows to `rgb`; a row of CMYK goes through `inks`. libjpeg's defaults are what is wanted: the
/// accurate integer DCT and smooth upsampling of colour.
bool read_rows(JpegReader& reader, Image& image, uint8_t* inks) {
  if (setjmp(reader.failed)) return false;
  reader.info.buffered_image = reader.info.progressive_mode;
  if (!jpeg_start_decompress(&reader.info)) return false;
  if (reader.info.buffered_image && !read_scans(reader)) return false;
  while (reader.info.output_scanline < reader.info.output_height) {
    uint8_t* const rgb = image.row(static_cast<int>(reader.info.output_scanline));
    JSAMPROW row = inks != nullptr ? inks : rgb;
    if (jpeg_read_scanlines(&reader.info, &row, 1) != 1) return false;
    if (inks != nullptr) cmyk_to_rgb(inks, rgb, image.width);
  }
  if (reader.info.buffered_image && !jpeg_finish_output(&reader.info)) return false;
  // A marker unknown to JPEG behind the pixels means that they were damaged; a missing end mark is no harm.
  jpeg_finish_decompress(&reader.info);
  return true;
}

[[noreturn]] void throw_failure(const JpegReader& reader, size_t bytes) {
  if (reader.truncated) fail("truncated JPEG: the image goes on after its ", bytes, " bytes");
  if (reader.message[0] != '\0') fail("broken JPEG: ", reader.message);
  fail("broken JPEG: no image in it");
}

/// libjpeg holds the coefficients of all scans, 16 bits each, until the last has come.
int64_t coefficient_bytes(jpeg_decompress_struct& info) {
  if (!jpeg_has_multiple_scans(&info)) return 0;
  int64_t blocks = 0;
  for (int c = 0; c < info.num_components; ++c)
    blocks += int64_t{info.comp_info[c].width_in_blocks} * info.comp_info[c].height_in_blocks;
  return blocks * DCTSIZE2 * static_cast<int64_t>(sizeof(JCOEF));
}

/// Before anything is decoded: a few bytes a scan would buy seconds of work each.
void check_scans(const JpegReader& reader, std::span<const uint8_t> bytes) {
  if (!jpeg_has_multiple_scans(const_cast<jpeg_decompress_struct*>(&reader.info))) return;
  if (const int64_t scans = count_jpeg_scans(bytes); scans > reader.max_scans)
    fail("JPEG of ", scans, " scans of ", reader.info.image_width, " x ", reader.info.image_height,
         " pixels, more than the limit of ", reader.max_scans,
         " for this size (about ten are usual): save it anew");
}

/// A lossless file ends libjpeg-turbo 2.1 with its header.
bool is_lossless(const JpegReader& reader) {
  constexpr int kLosslessFrame = 0xc3;
  return reader.errors.msg_code == JERR_SOF_UNSUPPORTED && reader.errors.msg_parm.i[0] == kLosslessFrame;
}

Image decode_with(JpegReader& reader, std::span<const uint8_t> bytes, const ImageLimits& limits) {
  if (!read_header(reader, bytes.data(), bytes.size())) {
    if (is_lossless(reader)) return decode_jpeg_lossless(bytes, limits);
    throw_failure(reader, bytes.size());
  }
  jpeg_decompress_struct& info = reader.info;
  check_image_size("JPEG", info.image_width, info.image_height, limits);
  const int components = info.num_components;
  if (components != 1 && components != 3 && components != kCmyk)
    fail("JPEG with ", components, " colour components; 1, 3 or 4 are known");
  info.out_color_space = components == kCmyk ? JCS_CMYK : JCS_RGB;
  const int64_t pixels = int64_t{info.image_width} * info.image_height;
  check_image_memory("JPEG", pixels * 3 + coefficient_bytes(info), limits);
  reader.max_scans = static_cast<int>(std::min<int64_t>(kMaxScans, limits.max_scanned_pixels / pixels));
  check_scans(reader, bytes);

  Image image = make_image(static_cast<int>(info.image_width), static_cast<int>(info.image_height));
  std::vector<uint8_t> inks(components == kCmyk ? static_cast<size_t>(image.width) * kCmyk : 0);
  if (!read_rows(reader, image, inks.empty() ? nullptr : inks.data())) throw_failure(reader, bytes.size());
  return image;
}

}  // namespace

Image decode_jpeg(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  struct Closing : JpegReader {
    Closing() : JpegReader{} {}
    ~Closing() { jpeg_destroy_decompress(&info); }
  } reader;
  return decode_with(reader, bytes, limits);
}

}  // namespace lapidary
