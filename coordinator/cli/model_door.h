#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "configs/model/generation_config.h"
#include "coordinator/cli/engine.h"

namespace lapidary {

/// What a command knows of its model before it loads anything.
struct KnownModel {
  ModelConfig config;  // as the weights have it
  GenerationConfig generation;
  std::vector<std::string> remarks;  // what was passed over, a sentence each
  int64_t tensors = 0;               // that are stored; 0: made weights
  int64_t stored_bytes = 0;
};

/// The one door of all commands that run or show a model: what one of them refuses, all refuse, in the same
/// sentence. Reads the folder's config files and the headers of its weights (none with --load-format dummy),
/// and refuses adapters, which are not run yet.
KnownModel know_model(const EngineFlags& flags);

/// The same for the folder's tokenizer, if it has one, for commands that do not read it themselves. Gives
/// what it says otherwise than it is taken.
std::vector<std::string> check_tokenizer(const EngineFlags& flags, const ModelConfig& config);

/// Each on a line of standard error.
void print_remarks(const std::vector<std::string>& remarks);

}  // namespace lapidary
