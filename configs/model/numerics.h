#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "configs/model/image_words.h"
#include "configs/model/model_config.h"

namespace lapidary {

/// What happens to the projected image features before the decoder.
enum class ImageScale : uint8_t {
  none,
  hf_pre_54,  // divided by sqrt(hidden_size), then multiplied by it as text embeddings are; each product is
              // rounded
};

/// Which soft-caps are applied. Their values are the config's; a cap that is null there is never applied.
enum class SoftcapPolicy : uint8_t { off, attention, final, config };

/// What sliding layers see of a window of W tokens (the config's sliding_window). In all three the prefix is
/// bidirectional and a generated token sees nothing after itself.
enum class WindowPolicy : uint8_t {
  hf5,    // the prefix sees all of the prefix; a generated token at q sees kv with q - kv < W
  full,   // no window
  hf447,  // as hf5, but inside the prefix too a row q does not see kv <= q - W
};

/// One way in which the same weights are computed: that of a library version, or that of the training code.
struct NumericsProfile {
  std::string name;
  std::string summary;  // one line for help texts
  ImageScale image_scale;
  SoftcapPolicy softcap;
  WindowPolicy window;
  ImageProcessor processor;  // what the release takes where the checkpoint does not say
  Alpha alpha;
  bool caps_if_autoset = false;  // the attention cap is applied where TextConfig::attention_autoset is set
};

/// All profiles; the first one is the default.
std::span<const NumericsProfile> numerics_profiles();

/// Throws a sentence that lists the names for a name that is not among them.
const NumericsProfile& numerics_profile(std::string_view name);

/// The caps that are applied: none where the profile leaves them off or the config has none.
struct Softcaps {
  std::optional<double> attention;
  std::optional<double> final;
};
Softcaps softcaps(SoftcapPolicy policy, const TextConfig& config);
/// Those that the profile applies to this checkpoint.
Softcaps softcaps(const NumericsProfile& profile, const TextConfig& config);

/// "off", "attention" (or "attn"), "final", "config", as a flag gives it. Throws a sentence otherwise.
SoftcapPolicy softcap_policy(std::string_view name);
/// "hf5", "full", "hf447".
WindowPolicy window_policy(std::string_view name);

}  // namespace lapidary
