#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "configs/wire.pb.h"
#include "worker/paligemma.h"

namespace lapidary {

struct EngineOptions {
  std::filesystem::path model;       // checkpoint folder; with dummy weights a config file will do
  std::string load_format = "auto";  // "auto": read the checkpoint; "dummy": make weights from tensor names
  std::string dtype = "auto";        // "float32", "bfloat16"; "auto": as config.json says, else bfloat16
  std::string profile = "hf";        // numerics profile
  std::string isa = "auto";          // instruction set of the CPU backend
  int threads = 0;                   // of this rank; 0: its share of the cores this process may use
  int64_t max_num_seqs = 8;          // sequences running at once
  int64_t max_model_len = 0;  // tokens of one sequence; 0: one image, 128 prompt and 256 generated tokens
  int64_t max_num_batched_tokens =
      0;                   // new rows of one step; 0: enough for one whole sequence, and at least 2048
  int64_t max_images = 0;  // embedding slots; 0: one a running sequence
};

/// What a rank holds, resolved from the options and the model's config. Throws a sentence when a number does
/// not fit.
Capacity fit_capacity(const EngineOptions& options, const ModelConfig& config);

/// One rank's model with everything it needs: backend, weights, KV pages. The ranks of a tensor-parallel
/// group each have one; rank 0 leads, the others follow.
class Engine {
 public:
  /// Called on every rank; loading involves no communication until each rank says that it succeeded, so that
  /// one rank's bad file ends all with its sentence. `progress` hears of bytes loaded, and of all bytes.
  using Progress = std::function<void(int64_t loaded, int64_t total)>;
  Engine(const EngineOptions& options, const ModelConfig& config, Communicator& comm,
         const Progress& progress = {});
  ~Engine();

  /// On rank 0: sends the step to the followers, and runs it. A step with `stop` ends them.
  wire::StepDone lead(const wire::Step& step, const Probe& probe = {});
  /// On the others: runs what rank 0 sends until a step says stop.
  void follow();

  PaliGemma& model();
  /// All that was allocated at start, the backend's scratch among the workspace.
  PaliGemma::Memory memory() const;
  Backend& backend();
  DType dtype() const;           // of weights and KV cache
  std::string describe() const;  // "cpu avx512-bf16, bfloat16, 2 threads"

 private:
  wire::StepDone run(const wire::Step& step, const Probe& probe);
  void report_whole(Tensor logits, const Probe& probe);

  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace lapidary
