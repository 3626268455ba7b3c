#include "configs/model/image_steps.h"

#include "configs/model/numerics.h"

namespace lapidary {
namespace {

template <class Enum>
Enum first_said(Enum user, Enum checkpoint, Enum release) {
  if (user != Enum::automatic) return user;
  return checkpoint != Enum::automatic ? checkpoint : release;
}

float pillow_value(float byte, const ProcessorConfig& config) {
  const auto scaled = static_cast<float>(double{byte} * config.rescale);
  return (scaled - static_cast<float>(config.mean)) / static_cast<float>(config.std);
}

float torchvision_value(float byte, const ProcessorConfig& config) {
  if (!config.normalises) return byte * static_cast<float>(config.rescale);
  const auto unscaled = static_cast<float>(1.0 / config.rescale);
  const float mean = static_cast<float>(config.mean) * unscaled;
  const float std = static_cast<float>(config.std) * unscaled;
  return (byte - mean) / std;
}

}  // namespace

ImageSteps image_steps(const std::filesystem::path& model, const ModelConfig& config,
                       std::string_view profile, const ImageChoice& choice) {
  const NumericsProfile& release = numerics_profile(profile);
  ImageSteps steps;
  steps.config = read_processor_config(model, config);
  steps.side = steps.config.image_size;
  steps.processor = first_said(choice.processor, steps.config.processor, release.processor);
  steps.alpha = first_said(choice.alpha, steps.config.alpha, release.alpha);
  steps.orientation = choice.orientation;
  return steps;
}

std::array<float, 256> value_table(const ImageSteps& steps) {
  const auto value = steps.processor == ImageProcessor::torchvision ? torchvision_value : pillow_value;
  std::array<float, 256> table;
  for (size_t byte = 0; byte < table.size(); ++byte)
    table[byte] = value(static_cast<float>(byte), steps.config);
  return table;
}

}  // namespace lapidary
