#include "coordinator/cli/model_door.h"

#include "configs/error.h"
#include "configs/json.h"
#include "configs/model/processor_config.h"
#include "coordinator/telemetry/messages.h"
#include "coordinator/text/prompt.h"
#include "coordinator/text/tokenizer.h"
#include "sharding/checkpoint/checkpoint.h"
#include "sharding/checkpoint/model_tensors.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

/// The folder of an adapter, or of a model beside which one lies.
void refuse_adapter(const fs::path& folder) {
  const fs::path file = folder / "adapter_config.json";
  if (!fs::exists(file)) {
    if (fs::exists(folder / "adapter_model.safetensors"))
      fail(folder.string(),
           ": holds adapter_model.safetensors, and adapters are not run yet: move it out of the folder to "
           "run the model without it");
    return;
  }
  const auto json = read_json_file(file);
  const std::string base =
      JsonObject(json, file.string()).optional_string("base_model_name_or_path").value_or("");
  const std::string of = base.empty() ? "a base model that it does not name" : cat("the base model ", base);
  if (!fs::exists(folder / "config.json"))
    fail(file.string(), ": this folder is an adapter of ", of,
         "; adapters are not run yet: give --model a folder of the base model, or of a model into which the "
         "adapter is merged");
  fail(file.string(), ": an adapter of ", of,
       " lies beside the model, and adapters are not run yet: move its files out of the folder to run the "
       "model without it");
}

void know_weights(const fs::path& folder, KnownModel& model) {
  Checkpoint checkpoint(folder);
  fit_to_weights(model.config, checkpoint);
  model.tensors = static_cast<int64_t>(checkpoint.names().size());
  model.stored_bytes = checkpoint.stored_bytes();
  model.remarks = checkpoint.remarks();
}

}  // namespace

KnownModel know_model(const EngineFlags& flags) {
  const EngineOptions& engine = flags.engine;
  numerics_profile(engine.profile);
  refuse_adapter(engine.model);
  KnownModel model{read_model_config(engine.model), {}, {}};
  read_processor_config(engine.model, model.config);
  if (engine.load_format != LoadFormat::dummy) know_weights(engine.model, model);
  model.generation = flags.generation_config == GenerationConfigUse::none
                         ? default_generation_config(model.config)
                         : read_generation_config(engine.model, model.config);
  return model;
}

std::vector<std::string> check_tokenizer(const EngineFlags& flags, const ModelConfig& config) {
  const fs::path file = flags.engine.model / "tokenizer.json";
  if (!fs::exists(file)) return {};
  const Tokenizer tokenizer = Tokenizer::from_file(file);
  prefix_ids(tokenizer, config, 1, "");
  return tokenizer.remarks();
}

void print_remarks(const std::vector<std::string>& remarks) {
  constexpr double kSaying = 5;  // seconds
  Messages messages;
  for (const std::string& remark : remarks) messages.say(cat("note: ", remark, "\n"));
  messages.flush(kSaying);
}

}  // namespace lapidary
