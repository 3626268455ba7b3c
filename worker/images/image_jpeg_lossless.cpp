#include <algorithm>

#include "configs/error.h"
#include "worker/images/image_formats.h"
#include "worker/jpeg/lossless.h"
#include "worker/jpeg/scans.h"

namespace lapidary {
namespace {

constexpr size_t kRgb = 3, kCmyk = 4;
constexpr int64_t kMaxScans = 8;  // one for each component is usual

/// Colours that would have to be converted contradict a lossless file; libjpeg-turbo 3 refuses them.
void check_colours(const LosslessFrame& frame) {
  const size_t components = frame.components.size();
  if (components != 1 && components != kRgb && components != kCmyk)
    fail("JPEG with ", components, " colour components; 1, 3 or 4 are known");
  const bool converted =
      components == kRgb ? frame.jfif || frame.adobe_transform > 0 : frame.adobe_transform > 0;
  if (components != 1 && converted)
    fail(
        "lossless JPEG whose header says that its colours are YCbCr, which Pillow too refuses: save it as "
        "RGB");
  for (const LosslessFrame::Component& component : frame.components)
    if (frame.max_across % component.across != 0 || frame.max_down % component.down != 0)
      fail(
          "lossless JPEG whose colours are sampled at fractions of pixels: save it as RGB without "
          "subsampling");
}

/// Where a component has fewer samples than pixels each is repeated.
void copy_row(const LosslessFrame& frame, const LosslessFrame::Component& component, int y, uint8_t* out,
              size_t step) {
  const int repeat = frame.max_across / component.across;
  const auto row = static_cast<size_t>(y / (frame.max_down / component.down));
  const uint8_t* samples = component.samples.data() + row * static_cast<size_t>(component.width);
  for (int x = 0; x < frame.width; ++x) out[static_cast<size_t>(x) * step] = samples[x / repeat];
}

Image image_of(const LosslessFrame& frame) {
  Image image = make_image(frame.width, frame.height);
  const auto width = static_cast<size_t>(frame.width);
  std::vector<uint8_t> inks(frame.components.size() == kCmyk ? width * kCmyk : 0);
  for (int y = 0; y < frame.height; ++y) {
    uint8_t* const rgb = image.row(y);
    if (frame.components.size() == 1)
      for (size_t c = 0; c < kRgb; ++c) copy_row(frame, frame.components[0], y, rgb + c, kRgb);
    else
      for (size_t c = 0; c < frame.components.size(); ++c)
        copy_row(frame, frame.components[c], y, (inks.empty() ? rgb : inks.data()) + c,
                 frame.components.size());
    if (!inks.empty()) cmyk_to_rgb(inks.data(), rgb, frame.width);
  }
  return image;
}

}  // namespace

Image decode_jpeg_lossless(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  LosslessReader reader(bytes);
  const LosslessFrame& frame = reader.frame();
  check_image_size("JPEG", frame.width, frame.height, limits);
  check_colours(frame);
  const int64_t pixels = int64_t{frame.width} * frame.height;
  check_image_memory("JPEG", pixels * static_cast<int64_t>(kRgb + frame.components.size()), limits);
  if (const int64_t scans = count_jpeg_scans(bytes);
      scans > std::min(kMaxScans, limits.max_scanned_pixels / pixels))
    fail("lossless JPEG of ", scans, " scans of ", frame.width, " x ", frame.height,
         " pixels, more than the limit of ", std::min(kMaxScans, limits.max_scanned_pixels / pixels),
         ": save it anew");
  reader.read_scans();
  return image_of(frame);
}

}  // namespace lapidary
