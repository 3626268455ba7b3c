#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "configs/model/model_config.h"

namespace lapidary {

/// How a checkpoint wants its text generated, unless the user says otherwise.
struct GenerationConfig {
  std::vector<int64_t> eos;  // generation ends at any of these
  bool do_sample = false;    // false: greedy, the next three do not count
  double temperature = 1;
  int64_t top_k = 50;  // 0: off
  double top_p = 1;    // 1: off
  std::optional<int64_t> max_new_tokens;
};

/// Reads generation_config.json; what it leaves out or gives as null has the library's default, the end
/// tokens those of the model's config. Without the file (or where the model is named by a config file) all of
/// it. Settings that say "off", and those of sampling where do_sample is not true, are passed over whatever
/// they hold, as transformers does. Throws one sentence naming file and field for numbers that cannot be
/// sampled with, and for settings that are in force and would give another text (beams, penalties, …).
GenerationConfig read_generation_config(const std::filesystem::path& folder_or_file,
                                        const ModelConfig& model);
/// The same from the text of a file.
GenerationConfig parse_generation_config(std::string_view text, const std::string& source,
                                         const ModelConfig& model);
/// Without any file.
GenerationConfig default_generation_config(const ModelConfig& model);

}  // namespace lapidary
