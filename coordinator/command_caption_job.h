#pragma once

#include <memory>
#include <optional>

#include "coordinator/captioner.h"
#include "coordinator/command_draw.h"
#include "coordinator/command_engine.h"
#include "coordinator/output.h"
#include "coordinator/tokenizer.h"

namespace lapidary {

/// What the command line of `lapidary caption` says.
struct CaptionOptions {
  EngineFlags flags;
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path tokenizer;  // empty: the model's
  std::string prompt = "caption en";
  std::optional<int64_t> max_new_tokens;
  std::optional<float> temperature, top_p;
  std::optional<int32_t> top_k;
  uint64_t seed = 0;
  bool ignore_eos = false;
  int image_workers = 0;
  std::filesystem::path output, draw;
  bool quiet = false;
};

/// What every rank knows before it loads anything.
struct Setup {
  ModelConfig config;
  CaptionSettings settings;
};

/// Fails at the door for what could only fail later. The options are completed: room for the prompt is made
/// here, a byte of which is a token at most.
Setup set_up(CaptionOptions& options, const Communicator& comm);

/// What rank 0 alone needs.
struct Job {
  Inputs inputs;
  LineOutput output;
  Tokenizer tokenizer;
  TaskPool pool;
  std::optional<Drawings> drawings;
};

/// Throws the sentence of whatever is wrong with inputs, output, tokenizer or prompt.
std::unique_ptr<Job> make_job(const CaptionOptions& options, const ModelConfig& config);

}  // namespace lapidary
