#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "configs/model/image_steps.h"
#include "worker/images/image.h"

namespace lapidary {

/// A picture as the vision tower takes it.
struct PreparedImage {
  int width = 0, height = 0;      // of the picture that was resized: upright where it was turned
  std::vector<uint8_t> rgb;       // [side, side, 3]
  bool orientation_left = false;  // the file says how to turn it, and that was not done
};

/// Decodes a file, makes it RGB, turns it and resizes it as `steps` say. Throws Error as decode_image does.
PreparedImage prepare_image(std::span<const uint8_t> file, const ImageSteps& steps,
                            const ImageLimits& limits = {});

/// The same of a regular file; every Error begins with the path.
PreparedImage prepare_image_file(const std::filesystem::path& path, const ImageSteps& steps);

}  // namespace lapidary
