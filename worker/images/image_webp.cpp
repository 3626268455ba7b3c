#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>

#include "configs/error.h"
#include "worker/images/image_formats.h"

namespace lapidary {
namespace {

/// libwebp keeps a note of each chunk, and each frame of an animation is one.
constexpr int kMaxChunks = 1 << 18;

void check_chunks(std::span<const uint8_t> bytes) {
  constexpr size_t kFileHeader = 12, kChunkHeader = 8;
  int chunks = 0;
  for (size_t at = kFileHeader; at + kChunkHeader <= bytes.size();) {
    if (++chunks > kMaxChunks)
      fail("WebP of more than ", kMaxChunks,
           " chunks, the limit (an endless animation?): save its first frame");
    const uint8_t* size = bytes.data() + at + 4;
    const size_t length = size[0] | size[1] << 8 | size[2] << 16 | size_t{size[3]} << 24;
    at += kChunkHeader + length + length % 2;
  }
}

using Demuxer = std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)>;

/// Transparency that is looked at.
bool blends(Alpha alpha) { return alpha == Alpha::white || alpha == Alpha::black; }

/// A lossy picture's alpha is a stream of its own, which is only read, and found to be broken, when it is
/// asked for.
bool decode_with_alpha(const WebPData& frame, uint8_t* rgb, size_t row_bytes, size_t width, size_t height,
                       Alpha alpha) {
  std::vector<uint8_t> rgba(width * height * 4);
  if (WebPDecodeRGBAInto(frame.bytes, frame.size, rgba.data(), rgba.size(), static_cast<int>(width * 4)) ==
      nullptr)
    return false;
  for (size_t y = 0; y < height; ++y) blend(rgba.data() + y * width * 4, rgb + y * row_bytes, width, alpha);
  return true;
}

/// Decodes a frame into its place in the picture.
bool decode_frame(const WebPIterator& frame, Image& image, Alpha alpha) {
  WebPBitstreamFeatures features;
  const WebPData& data = frame.fragment;
  if (WebPGetFeatures(data.bytes, data.size, &features) != VP8_STATUS_OK) return false;
  constexpr int kLossy = 1;
  uint8_t* const first = image.row(frame.y_offset) + static_cast<size_t>(frame.x_offset) * 3;
  if (features.has_alpha && (features.format == kLossy || blends(alpha)))
    return decode_with_alpha(data, first, image.row_bytes(), static_cast<size_t>(frame.width),
                             static_cast<size_t>(frame.height), alpha);
  const auto room = static_cast<size_t>(image.rgb.data() + image.rgb.size() - first);
  return WebPDecodeRGBInto(data.bytes, data.size, first, room, static_cast<int>(image.row_bytes())) !=
         nullptr;
}

}  // namespace

/// What Pillow shows is the canvas after the first frame: black where a frame smaller than the canvas leaves
/// it, and transparent there in a file that has alpha.
Image decode_webp(std::span<const uint8_t> bytes, const ImageLimits& limits, Alpha alpha) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(bytes.data(), bytes.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA)
    fail("truncated WebP: its ", bytes.size(), " bytes end in the header");
  if (status != VP8_STATUS_OK) fail("broken WebP: its header cannot be read");
  check_image_size("WebP", features.width, features.height, limits);

  check_chunks(bytes);
  const WebPData data{bytes.data(), bytes.size()};
  const Demuxer demuxer(WebPDemux(&data), WebPDemuxDelete);
  WebPIterator frame{};
  if (!demuxer || !WebPDemuxGetFrame(demuxer.get(), 1, &frame))
    fail("broken or truncated WebP: its ", bytes.size(), " bytes hold no complete image");
  const std::unique_ptr<WebPIterator, decltype(&WebPDemuxReleaseIterator)> releasing(
      &frame, WebPDemuxReleaseIterator);
  const int64_t width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  const int64_t height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  check_image_size("WebP", width, height, limits);
  // A lossless picture takes 4 of libwebp's own, one with alpha 4 in which it is read, the lossy one's
  // alpha 1.
  const int64_t bytes_a_pixel = features.has_alpha && blends(alpha) ? 12 : 8;
  check_image_memory("WebP", width * height * bytes_a_pixel, limits);
  Image image = make_image(static_cast<int>(width), static_cast<int>(height));
  const Alpha seen = features.has_alpha ? alpha : Alpha::drop;  // the file's word, not the frame's
  if (seen == Alpha::white) std::fill(image.rgb.begin(), image.rgb.end(), uint8_t{255});
  if (!decode_frame(frame, image, seen)) fail("broken WebP: its image cannot be decoded");
  return image;
}

}  // namespace lapidary
