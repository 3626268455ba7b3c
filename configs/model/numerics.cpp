#include "configs/model/numerics.h"

#include <vector>

#include "configs/error.h"

namespace lapidary {
namespace {

template <class T>
struct Choice {
  std::string_view name;
  T value;
};

template <class T, size_t n>
T choose(std::string_view what, std::string_view name, const Choice<T> (&choices)[n]) {
  std::string names;
  for (const Choice<T>& choice : choices) {
    if (choice.name == name) return choice.value;
    names += cat(names.empty() ? "" : ", ", choice.name);
  }
  fail("there is no ", what, " '", name, "'; there are: ", names);
}

}  // namespace

std::span<const NumericsProfile> numerics_profiles() {
  // Each row that is a release's was measured on it (tests/golden/profiles). Up to 4.53 a release left
  // attention eager, and so capped, where config.json says that it was chosen already.
  constexpr auto kScaled = ImageScale::hf_pre_54;
  static const std::vector<NumericsProfile> kProfiles{
      {"hf", "transformers from 5.23: both soft-caps as config.json has them, images unscaled",
       ImageScale::none, SoftcapPolicy::config, WindowPolicy::hf5, ImageProcessor::torchvision, Alpha::white},
      {"hf-4.47", "transformers 4.47: both soft-caps, scaled images, a window inside the prefix", kScaled,
       SoftcapPolicy::config, WindowPolicy::hf447, ImageProcessor::pillow, Alpha::drop},
      {"hf-4.48", "transformers 4.48 to 4.51: the final soft-cap only, otherwise as hf-4.47", kScaled,
       SoftcapPolicy::final, WindowPolicy::hf447, ImageProcessor::pillow, Alpha::drop, true},
      {"hf-4.52", "transformers 4.52: no soft-caps, otherwise as hf-4.47", kScaled, SoftcapPolicy::off,
       WindowPolicy::hf447, ImageProcessor::pillow, Alpha::drop, true},
      {"hf-4.53",
       "transformers 4.53: no soft-caps, scaled images; it and the two above apply the attention cap where "
       "text_config of config.json says _attn_implementation_autoset",
       kScaled, SoftcapPolicy::off, WindowPolicy::hf5, ImageProcessor::pillow, Alpha::drop, true},
      {"hf-5.0", "transformers 4.54 to 5.3: no soft-caps, scaled images", kScaled, SoftcapPolicy::off,
       WindowPolicy::hf5, ImageProcessor::torchvision, Alpha::drop},
      {"hf-5.4", "transformers 5.4 to 5.20: no soft-caps, images unscaled", ImageScale::none,
       SoftcapPolicy::off, WindowPolicy::hf5, ImageProcessor::torchvision, Alpha::drop},
      {"hf-5.21", "transformers 5.21 and 5.22: the attention cap only, images unscaled", ImageScale::none,
       SoftcapPolicy::attention, WindowPolicy::hf5, ImageProcessor::torchvision, Alpha::white},
      {"big-vision-pt", "pretraining: both soft-caps, images unscaled, no window", ImageScale::none,
       SoftcapPolicy::config, WindowPolicy::full, ImageProcessor::pillow, Alpha::drop},
      {"big-vision-ft", "fine-tuning: no soft-caps, images unscaled, no window", ImageScale::none,
       SoftcapPolicy::off, WindowPolicy::full, ImageProcessor::pillow, Alpha::drop},
  };
  return kProfiles;
}

const NumericsProfile& numerics_profile(std::string_view name) {
  std::string names;
  for (const NumericsProfile& profile : numerics_profiles()) {
    if (profile.name == name) return profile;
    names += (names.empty() ? "" : ", ") + profile.name;
  }
  fail("there is no numerics profile '", name, "'; there are: ", names);
}

Softcaps softcaps(SoftcapPolicy policy, const TextConfig& config) {
  const bool both = policy == SoftcapPolicy::config;
  Softcaps caps;
  if (both || policy == SoftcapPolicy::attention) caps.attention = config.attn_softcap;
  if (both || policy == SoftcapPolicy::final) caps.final = config.final_softcap;
  return caps;
}

Softcaps softcaps(const NumericsProfile& profile, const TextConfig& config) {
  Softcaps caps = softcaps(profile.softcap, config);
  if (profile.caps_if_autoset && config.attention_autoset) caps.attention = config.attn_softcap;
  return caps;
}

SoftcapPolicy softcap_policy(std::string_view name) {
  return choose<SoftcapPolicy>("soft-cap choice", name,
                               {{"off", SoftcapPolicy::off},
                                {"attention", SoftcapPolicy::attention},
                                {"attn", SoftcapPolicy::attention},
                                {"final", SoftcapPolicy::final},
                                {"config", SoftcapPolicy::config}});
}

WindowPolicy window_policy(std::string_view name) {
  return choose<WindowPolicy>(
      "window choice", name,
      {{"hf5", WindowPolicy::hf5}, {"full", WindowPolicy::full}, {"hf447", WindowPolicy::hf447}});
}

}  // namespace lapidary
