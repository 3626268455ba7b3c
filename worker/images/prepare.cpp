#include "worker/images/prepare.h"

#include <utility>

#include "configs/error.h"
#include "worker/images/orientation.h"
#include "worker/images/resize.h"

namespace lapidary {
namespace {

/// A picture that is turned is there twice.
ImageLimits with_a_copy(ImageLimits limits) {
  if (limits.before_decoding)
    limits.before_decoding = [told = limits.before_decoding](int64_t bytes) { told(2 * bytes); };
  return limits;
}

}  // namespace

PreparedImage prepare_image(std::span<const uint8_t> file, const ImageSteps& steps,
                            const ImageLimits& limits) {
  const int orientation = exif_orientation(file);
  const bool turns = steps.orientation == Orientation::exif;
  Image image = decode_image(file, turns && orientation != 1 ? with_a_copy(limits) : limits, steps.alpha);
  if (turns) image = upright(std::move(image), orientation);
  const auto side = static_cast<int>(steps.side);
  return {image.width, image.height, resize_bicubic(image, side, side, steps.processor).rgb,
          orientation != 1 && !turns};
}

PreparedImage prepare_image_file(const std::filesystem::path& path, const ImageSteps& steps) {
  const std::vector<uint8_t> file = read_image_file(path);
  try {
    return prepare_image(file, steps);
  } catch (const Error& error) {
    fail(path.string(), ": ", error.what());
  }
}

}  // namespace lapidary
