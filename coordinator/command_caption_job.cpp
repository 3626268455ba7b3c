#include "coordinator/command_caption_job.h"

#include <algorithm>

#include "configs/error.h"
#include "configs/generation_config.h"
#include "coordinator/prompt.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

/// The user's word, else the checkpoint's, else greedy.
wire::Sampling sampling_of(const CaptionOptions& options, const GenerationConfig& generation) {
  const bool asked = options.temperature || options.top_k || options.top_p;
  wire::Sampling sampling;
  if (!asked && !generation.do_sample) return sampling;
  const auto temperature = generation.do_sample ? static_cast<float>(generation.temperature) : 1.0f;
  sampling.set_temperature(options.temperature.value_or(temperature));
  sampling.set_top_k(
      options.top_k.value_or(generation.do_sample ? static_cast<int32_t>(generation.top_k) : 0));
  sampling.set_top_p(
      options.top_p.value_or(generation.do_sample ? static_cast<float>(generation.top_p) : 1.0f));
  sampling.set_seed(options.seed);
  return sampling;
}

CaptionSettings settings_of(const CaptionOptions& options, const GenerationConfig& generation) {
  CaptionSettings settings;
  settings.prompt = options.prompt;
  settings.max_new_tokens = options.max_new_tokens.value_or(generation.max_new_tokens.value_or(64));
  settings.sampling = sampling_of(options, generation);
  if (!options.ignore_eos) settings.eos.assign(generation.eos.begin(), generation.eos.end());
  settings.look_ahead = 2 * options.flags.engine.max_num_seqs + options.image_workers;
  return settings;
}

/// An output that is also read would be emptied before its turn.
void check_output_is_no_input(const CaptionOptions& options) {
  std::error_code ignored;
  for (const fs::path& input : options.inputs)
    if (!options.output.empty() && fs::equivalent(options.output, input, ignored))
      fail("--output ", options.output.string(), " is one of the inputs");
}

}  // namespace

Setup set_up(CaptionOptions& options, const Communicator& comm) {
  EngineOptions& engine = options.flags.engine;
  Setup setup{read_model_config(engine.model), {}};
  const ModelConfig& config = setup.config;
  setup.settings = settings_of(options, read_generation_config(engine.model, config));
  numerics_profile(engine.profile);
  PaliGemma::plan_for(config, comm.rank(), comm.size());
  if (engine.max_model_len == 0)
    engine.max_model_len = std::min(
        config.text.max_position_embeddings,
        config.vision.tokens() + std::max<int64_t>(128, static_cast<int64_t>(options.prompt.size()) + 2) +
            setup.settings.max_new_tokens);
  fit_capacity(engine, config);
  return setup;
}

std::unique_ptr<Job> make_job(const CaptionOptions& options, const ModelConfig& config) {
  check_output_is_no_input(options);
  const fs::path& tokenizer = options.tokenizer.empty() ? options.flags.engine.model : options.tokenizer;
  auto job = std::unique_ptr<Job>(new Job{Inputs(options.inputs), LineOutput(options.output),
                                          Tokenizer::from_file(tokenizer), TaskPool(options.image_workers),
                                          std::nullopt});
  prefix_ids(job->tokenizer, config, 1, options.prompt);  // a tokenizer of another model is found here
  if (!options.draw.empty()) job->drawings.emplace(options.draw, job->pool);
  return job;
}

}  // namespace lapidary
