#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "configs/error.h"
#include "worker/images/image_formats.h"

namespace lapidary {

/// Every file goes through the animation decoder, whose canvas is what Pillow shows: a first frame smaller
/// than its canvas has black around it, and transparent pixels keep their colours.
Image decode_webp(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(bytes.data(), bytes.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA)
    fail("truncated WebP: its ", bytes.size(), " bytes end in the header");
  if (status != VP8_STATUS_OK) fail("broken WebP: its header cannot be read");
  check_image_size("WebP", features.width, features.height, limits);

  const WebPData data{bytes.data(), bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, nullptr), WebPAnimDecoderDelete);
  WebPAnimInfo info;
  if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info))
    fail("broken or truncated WebP: its ", bytes.size(), " bytes hold no complete image");
  check_image_size("WebP", info.canvas_width, info.canvas_height, limits);
  uint8_t* rgba = nullptr;
  int timestamp = 0;
  if (!WebPAnimDecoderGetNext(decoder.get(), &rgba, &timestamp))
    fail("broken WebP: its image cannot be decoded");

  Image image = make_image(static_cast<int>(info.canvas_width), static_cast<int>(info.canvas_height));
  uint8_t* rgb = image.rgb.data();
  for (uint8_t* const end = rgb + image.rgb.size(); rgb != end; rgb += 3, rgba += 4) {
    rgb[0] = rgba[0];
    rgb[1] = rgba[1];
    rgb[2] = rgba[2];
  }
  return image;
}

}  // namespace lapidary
