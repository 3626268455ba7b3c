#pragma once

#include <vector>

#include "configs/mesh.h"
#include "configs/model/model_config.h"
#include "configs/model/numerics.h"
#include "sharding/plan/plan.h"
#include "worker/model/kv_pages.h"
#include "worker/model/layers.h"
#include "worker/model/row_halves.h"

namespace lapidary {

/// The rows of a step and the sequences they belong to; prefill and decode are one forward.
struct RaggedRows {
  std::vector<AttentionSpan> spans;
  std::vector<int32_t> positions;  // a row: index into the rotary table
};

/// A run of the layers of Gemma 2's decoder stack, and the final norm where it is the last one.
class Gemma2 {
 public:
  /// `layers`: those held; `rows`: most rows of a step; `length`: most tokens of a sequence.
  Gemma2(const TextConfig& config, const NumericsProfile& profile, WeightStore& weights,
         const BlockPlan& plan, Rank rank, LayerRun layers, int64_t rows, int64_t length);

  size_t workspace_bytes() const { return workspace_.bytes(); }
  KvShape kv_shape() const { return {plan_.kv_heads.size(), config_.head_dim, dtype_}; }

  /// x [rows, hidden]: the residual stream before layer run.begin in, after the last of the run out. `kv` has
  /// the pages of the layers held. After each layer what was sent on `peers` is moved on.
  void forward(Tensor x, const RaggedRows& step, KvPages& kv, LayerRun run, Communicator& peers,
               const TensorHook& hook = {});
  /// Lets the backend measure its products (Backend::tune).
  void tune();
  /// y = the final norm of x; on the rank that holds the last layer.
  void norm(Tensor y, Tensor x) const { norm_(rank_, y, x); }

 private:
  struct Layer {
    RmsNorm input_norm;
    ColumnLinear qkv;  // my heads of q, then the KV heads they read: k, then v
    RowLinear out;
    RmsNorm post_attention_norm;
    RmsNorm pre_ffn_norm;
    GatedLinear gate_up;  // my columns of both
    RowLinear down;
    RmsNorm post_ffn_norm;
    AttentionArgs attention;
  };

  Layer load(WeightStore& weights, int64_t index) const;
  void make_workspace(int64_t rows, int64_t length);
  /// One layer over x [rows, hidden]. h_ holds its input, normed already: the end of the layer before and
  /// that norm are one pass over x. So this layer ends in `next_norm`, where there is one.
  void forward(const Layer& layer, const RmsNorm* next_norm, Tensor x, RowHalves& halves,
               const RaggedRows& step, std::byte* pages);
  /// The layer's MLP of these rows of h_, and its end in x.
  DeviceEvent feed_forward(const Layer& layer, const RmsNorm* next_norm, Tensor x, Range rows, bool overlap);
  /// The end of a block: x += post(in · wᵀ, summed over all ranks), h_ = next(x); of these rows. The event is
  /// null where that is in the order of the stream, else what needs x or h_ waits for it.
  DeviceEvent end_block(const RowLinear& linear, Tensor in, Tensor x, Range rows, const RmsNorm& post,
                        const RmsNorm* next, bool overlap);
  bool overlaps(int64_t rows) const;

  TextConfig config_;
  NumericsProfile profile_;
  BlockPlan plan_;
  Rank rank_;
  DType dtype_;
  LayerRun held_;
  std::vector<Layer> layers_;
  RmsNorm norm_;

  Workspace workspace_;
  Tensor cos_sin_;    // [length + 1, head_dim]
  Tensor h_;          // [rows, hidden], operands
  Tensor sum_;        // [rows, hidden], what goes into the residual stream; h_ where operands are float32
  Tensor qkv_;        // [rows, (my heads + 2 * my KV heads) * head_dim]
  Tensor attention_;  // [rows, my heads * head_dim]
  Tensor gate_up_;    // [a chunk of rows, 2 * my ffn, or a few more]
  Tensor mlp_;        // [a chunk of rows, my ffn]
  Tensor partials_;   // [my blocks * rows, hidden]
};

}  // namespace lapidary
