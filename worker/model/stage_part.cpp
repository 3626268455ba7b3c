#include "worker/model/stage_part.h"

#include <numeric>

#include "configs/error.h"

namespace lapidary {
namespace {

LayerRun given_layers(std::span<const int64_t> pp_layers, int64_t layers, int stage, int stages) {
  if (pp_layers.size() != static_cast<size_t>(stages))
    fail("--pp-layers gives ", pp_layers.size(), pp_layers.size() == 1 ? " number" : " numbers",
         ", but --pp is ", stages);
  for (int64_t n : pp_layers)
    if (n < 1) fail("--pp-layers gives a stage ", n, " layers, each needs at least 1");
  const auto sum = std::accumulate(pp_layers.begin(), pp_layers.end(), int64_t{0});
  if (sum != layers) fail("--pp-layers adds up to ", sum, " layers, but the model has ", layers);
  const int64_t begin = std::accumulate(pp_layers.begin(), pp_layers.begin() + stage, int64_t{0});
  return {begin, begin + pp_layers[static_cast<size_t>(stage)]};
}

}  // namespace

StagePart whole_model_part(const ModelConfig& config) { return {{0, config.text.layers}, true, true, true}; }

/// A decode step costs the bytes it reads, and the head's weigh vocabulary * hidden / a layer's: 2.1 layers
/// at 28B, 7.6 at 3B. A prefill runs the head over one row a sequence, which is nothing. Captioning spends
/// about half its time in each, so half the weight is counted.
double head_in_layers(const ModelConfig& config) {
  const TextConfig& t = config.text;
  const int64_t layer = t.hidden_size * (2 * t.q_width() + 2 * t.kv_width() + 3 * t.intermediate_size);
  return 0.5 * static_cast<double>(t.vocab_size * t.hidden_size) / static_cast<double>(layer);
}

StagePart stage_part_of(const ModelConfig& config, const Mesh& mesh, const MeshCoord& coord,
                        std::span<const int64_t> pp_layers, bool shared_vision) {
  if (!coord.decodes()) return {};
  StagePart share;
  share.layers = pp_layers.empty()
                     ? layers_of_stage(config.text.layers, head_in_layers(config), coord.stage, mesh.pp)
                     : given_layers(pp_layers, config.text.layers, coord.stage, mesh.pp);
  share.embedding = coord.stage == 0;
  share.head = coord.stage == mesh.pp - 1;
  share.shared_vision = shared_vision && share.embedding;
  return share;
}

void ignore_others(WeightStore& weights, const ModelConfig& config, const StagePart& share) {
  for (int64_t i = 0; i < config.text.layers; ++i)
    if (i < share.layers.begin || i >= share.layers.end)
      weights.ignore_below(cat("language_model.layers.", i, "."));
  if (!share.shared_vision) {
    weights.ignore_below("vision_tower.");
    weights.ignore_below("multi_modal_projector.");
  }
  if (!share.embedding && !share.head) weights.ignore_below("language_model.embed_tokens.");
  if (!share.head) {
    weights.ignore_below("language_model.norm.");
    weights.ignore_below("lm_head.");
  }
}

}  // namespace lapidary
