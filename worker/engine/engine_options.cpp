#include "worker/engine/engine_options.h"

#include <algorithm>

#include "configs/error.h"
#include "kernels/backend.h"
#include "kernels/cpu/isa/detect.h"
#include "sharding/checkpoint/checkpoint.h"
#include "sharding/checkpoint/dummy_weights.h"
#include "sharding/comm/launch_environment.h"
#include "worker/engine/device.h"
#include "worker/engine/memory_plan.h"

namespace lapidary {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The cores of this process, shared with the launcher's other ranks on this host where all were given the
/// same ones.
int share_of_cores() {
  const int cores = available_cores();
  return bound_to_cores() ? cores : std::max(1, cores / local_size());
}

}  // namespace

Capacity fit_capacity(const EngineOptions& options, const ModelConfig& config, const Mesh& mesh) {
  const int64_t tokens = config.vision.tokens();
  const int64_t longest = config.text.max_position_embeddings;
  const int64_t sequences = options.max_num_seqs;
  if (sequences < 1) fail("--max-num-seqs is ", sequences, ", at least 1 is needed");
  const int64_t length =
      options.max_model_len > 0 ? options.max_model_len : std::min(longest, tokens + 128 + 256);
  if (length > longest)
    fail("--max-model-len is ", length, ", the model was made for ", longest, " (max_position_embeddings)");
  if (length <= tokens) fail("--max-model-len is ", length, ", one image alone takes ", tokens, " tokens");
  const int64_t rows =
      options.max_num_batched_tokens > 0 ? options.max_num_batched_tokens : std::max<int64_t>(2048, length);
  if (rows < length)
    fail("--max-num-batched-tokens is ", rows, ", but a prefix is never cut and may have ", length,
         " tokens (--max-model-len)");
  // The next images are encoded while the current ones decode; and one prompt's must fit, however many it
  // has.
  const int64_t lanes = vision_lanes(mesh);
  const int64_t slots = options.encoder_cache_slots > 0
                            ? options.encoder_cache_slots
                            : std::max(divide_up(2 * sequences, lanes), divide_up(length / tokens, lanes));
  // As many as fill the matrix kernels, and no more: the decoder waits for the first until all are done.
  const int64_t encode_rows = uses_gpu(options) ? 4096 : 256;

  Capacity capacity;
  capacity.set_max_num_seqs(sequences);
  capacity.set_max_num_batched_tokens(rows);
  capacity.set_max_model_len(length);
  capacity.set_num_kv_pages(sequences * divide_up(length, KvShape::kPageTokens));
  capacity.set_kv_page_tokens(KvShape::kPageTokens);
  capacity.set_max_step_images(rows / tokens);
  capacity.set_encoder_cache_slots(slots);
  capacity.set_max_encode_images(std::clamp<int64_t>(encode_rows / tokens, 1, std::max<int64_t>(1, slots)));
  capacity.set_image_tokens(tokens);
  capacity.set_num_layers(config.text.layers);
  return capacity;
}

int decoder_threads(const EngineOptions& options) {
  return options.threads > 0 ? options.threads : share_of_cores();
}

int vision_threads(const EngineOptions& options, bool beside_decoder) {
  if (options.vision_threads > 0) return options.vision_threads;
  return beside_decoder ? std::max(1, share_of_cores() / 2) : share_of_cores();
}

std::unique_ptr<TensorSource> open_weights(const EngineOptions& options, const ModelConfig& config) {
  if (options.load_format == LoadFormat::dummy) return std::make_unique<DummyWeights>(config);
  return std::make_unique<Checkpoint>(options.model);
}

}  // namespace lapidary
