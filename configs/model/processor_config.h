#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "configs/model/image_words.h"
#include "configs/model/model_config.h"

namespace lapidary {

/// How a picture becomes the vision tower's input: bicubic resize to a square, whatever its proportions, then
/// (byte * rescale - mean) / std in every channel. Automatic is what the file does not speak of.
struct ProcessorConfig {
  int64_t image_size = 224;  // equals vision.image_size
  double rescale = 1.0 / 255;
  double mean = 0.5;
  double std = 0.5;
  bool normalises = true;  // false: mean is 0 and std 1
  ImageProcessor processor = ImageProcessor::automatic;
  Alpha alpha = Alpha::automatic;
  int64_t image_seq_length = 256;  // equals vision.tokens()
};

/// Reads `image_processor` of processor_config.json (5.x), else preprocessor_config.json (4.x), else follows
/// from the model's config; so too where the model is named by a config file instead of a folder. Throws one
/// sentence, naming file, field and both numbers, for steps that are not made here (another filter, crops,
/// unequal channels, another processor) and for sizes that disagree with the model's.
ProcessorConfig read_processor_config(const std::filesystem::path& folder_or_file, const ModelConfig& model);
/// The same from the text of one file. `nested` where the fields lie in its `image_processor`; empty-handed
/// where that is missing, it follows from the model's config.
ProcessorConfig parse_processor_config(std::string_view text, const std::string& source, bool nested,
                                       const ModelConfig& model);

}  // namespace lapidary
