#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "configs/error.h"
#include "worker/images/image_formats.h"

namespace lapidary {
namespace {

using Demuxer = std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)>;

/// A lossy picture's alpha is a stream of its own, which is only read, and found to be broken, when it is
/// asked for.
bool decode_with_alpha(const WebPData& frame, uint8_t* rgb, size_t row_bytes, size_t width, size_t height) {
  std::vector<uint8_t> rgba(width * height * 4);
  const uint8_t* from = rgba.data();
  if (WebPDecodeRGBAInto(frame.bytes, frame.size, rgba.data(), rgba.size(), static_cast<int>(width * 4)) ==
      nullptr)
    return false;
  for (size_t y = 0; y < height; ++y)
    for (uint8_t *to = rgb + y * row_bytes, *const end = to + width * 3; to != end; to += 3, from += 4) {
      to[0] = from[0];
      to[1] = from[1];
      to[2] = from[2];
    }
  return true;
}

/// Decodes a frame into its place in the picture. Transparent pixels keep their colours.
bool decode_frame(const WebPIterator& frame, Image& image) {
  WebPBitstreamFeatures features;
  const WebPData& data = frame.fragment;
  if (WebPGetFeatures(data.bytes, data.size, &features) != VP8_STATUS_OK) return false;
  constexpr int kLossy = 1;
  uint8_t* const first = image.row(frame.y_offset) + static_cast<size_t>(frame.x_offset) * 3;
  if (features.format == kLossy && features.has_alpha)
    return decode_with_alpha(data, first, image.row_bytes(), static_cast<size_t>(frame.width),
                             static_cast<size_t>(frame.height));
  const auto room = static_cast<size_t>(image.rgb.data() + image.rgb.size() - first);
  return WebPDecodeRGBInto(data.bytes, data.size, first, room, static_cast<int>(image.row_bytes())) !=
         nullptr;
}

}  // namespace

/// What Pillow shows is the canvas after the first frame: black where a frame smaller than the canvas leaves
/// it.
Image decode_webp(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(bytes.data(), bytes.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA)
    fail("truncated WebP: its ", bytes.size(), " bytes end in the header");
  if (status != VP8_STATUS_OK) fail("broken WebP: its header cannot be read");
  check_image_size("WebP", features.width, features.height, limits);

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
  constexpr int64_t kBytesAPixel = 5;  // of libwebp's own, or of the one with alpha
  check_image_memory("WebP", width * height * (3 + kBytesAPixel), limits);
  Image image = make_image(static_cast<int>(width), static_cast<int>(height));
  if (!decode_frame(frame, image)) fail("broken WebP: its image cannot be decoded");
  return image;
}

}  // namespace lapidary
