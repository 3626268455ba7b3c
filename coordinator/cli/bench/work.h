#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "coordinator/cli/bench/report.h"
#include "sharding/comm/communicator.h"
#include "worker/engine/engine.h"

namespace lapidary {

/// A run of prompts of one form, in floating-point operations (two a multiply-add) and bytes of memory.
struct ModelWork {
  /// `images` in a prompt of so many text tokens; a decode step is the middle one of `new_tokens`.
  ModelWork(const ModelConfig& config, int images, int prompt_tokens, int new_tokens);

  double vision = 0;       // operations of a prompt's images
  double prefill = 0;      // operations of the decoder on a prompt
  double kv_elements = 0;  // that a decode step reads of one sequence
  double rows = 0;         // of a prompt
};

/// A kind of weight [out, in] of a model, and how many of it there are.
struct ProductShape {
  int64_t out, in;
  double count;
};
std::vector<ProductShape> decoder_products(const ModelConfig& config);
std::vector<ProductShape> vision_products(const ModelConfig& config);

/// What all ranks together could do at most in this run.
struct Roofline {
  double prefill = 0, vision = 0;  // operations a second
  double read = 0, copy = 0;       // bytes a second
  bool on_host = true;
  const char* products_name() const { return on_host ? "register-only" : "library, same shapes"; }
  /// What a decode step is held against.
  double bytes() const { return on_host ? read : copy; }
  const char* bytes_name() const { return on_host ? "streaming read" : "copy"; }
};

/// Measured by all ranks at once. `rows`: of a prefill step; `vision_rows`: of the tower at once.
Roofline measure_roofline(Communicator& comm, Backend& backend, const ModelConfig& config, DType dtype,
                          const std::string& isa, int64_t rows, int64_t vision_rows);

/// Shares of the limit that a GPU is to reach, by the decoder's size; 0: none is set.
double decode_goal(const ModelConfig& config, int sequences);

/// `count` times the same decode step by a decoder lane; on every rank of the engine.
void run_decodes(Engine& engine, wire::Step step, int64_t count);

/// Seconds of vision tower and decode steps, each alone and both at once on one device.
struct Together {
  double vision = 0, decode = 0, both = 0;
  double ratio() const { return both / std::max(vision, decode); }
};
/// Decodes the sequences of `step`, which are prefilled, beside a tower of its own that encodes one picture
/// after the other; about `seconds` of each. Called by all ranks of `comm`, the engine's.
Together time_together(Engine& engine, Communicator& comm, const EngineOptions& options,
                       const wire::Step& step, int max_steps, double seconds);

/// Every pixel of it random.
std::string noise_image(const ModelConfig& config, int index);

}  // namespace lapidary
