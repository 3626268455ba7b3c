#include "worker/images/prepare.h"

#include <utility>

#include "configs/error.h"
#include "worker/images/orientation.h"
#include "worker/images/resize.h"

namespace lapidary {

PreparedImage prepare_image(std::span<const uint8_t> file, const ImageSteps& steps,
                            const ImageLimits& limits) {
  Image image = decode_image(file, limits, steps.alpha);
  const int orientation = exif_orientation(file);
  const bool turns = steps.orientation == Orientation::exif;
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
