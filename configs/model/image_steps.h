#pragma once

#include <array>
#include <cstdint>

#include "configs/enum_names.h"
#include "configs/model/processor_config.h"

namespace lapidary {

/// What of a picture's way to the vision tower the user may choose.
struct ImageChoice {
  ImageProcessor processor = ImageProcessor::automatic;
  Alpha alpha = Alpha::automatic;
  Orientation orientation = Orientation::as_stored;
};

/// All that is done to a picture before the vision tower sees it; nothing in it is automatic.
struct ImageSteps {
  int64_t side = 224;  // pixels
  ImageProcessor processor = ImageProcessor::pillow;
  Alpha alpha = Alpha::drop;
  Orientation orientation = Orientation::as_stored;
  ProcessorConfig config;
};

/// The user's word wins over the checkpoint's (processor_config.json or preprocessor_config.json of `model`),
/// and that over what the release did whose numerics are followed. Throws as read_processor_config and
/// numerics_profile do.
ImageSteps image_steps(const std::filesystem::path& model, const ModelConfig& config,
                       std::string_view profile, const ImageChoice& choice);

/// For each byte value the number the vision tower sees, rounding for rounding as the processor comes to it.
/// Pillow's: float32(byte * rescale), the product in float64, then (x - mean) / std in float32.
/// torchvision's: (byte - mean / rescale) / (std / rescale), all in float32, the two quotients as products
/// with 1 / rescale; where nothing is normalised, float32(byte) * float32(rescale).
std::array<float, 256> value_table(const ImageSteps& steps);

}  // namespace lapidary
