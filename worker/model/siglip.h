#pragma once

#include <vector>

#include "configs/model/model_config.h"
#include "sharding/plan/plan.h"
#include "worker/model/layers.h"

namespace lapidary {

/// What the attention of `images` at once needs of a backend.
AttentionLimits attention_of(const VisionConfig& config, const BlockPlan& plan, int64_t images);

/// The vision tower and the projector: images to rows of the decoder's width. Every image sees itself only.
class Siglip {
 public:
  /// Encodes up to `images` at once; more cost memory and gain nothing once the rows fill the matrix kernels.
  Siglip(const VisionConfig& config, int64_t projection, WeightStore& weights, const BlockPlan& plan,
         Rank rank, int64_t images);

  /// Images at once.
  int64_t capacity() const { return images_; }
  size_t workspace_bytes() const { return workspace_.bytes() + kv_bytes_; }

  /// Lets the backend measure its products (Backend::tune).
  void tune();

  /// out [images * tokens, projection] from normalised RGB8 images of image_size * image_size * 3 bytes each;
  /// value_of maps a byte to its normalised value.
  void encode(Tensor out, std::span<const uint8_t* const> images, const float* value_of,
              const TensorHook& hook = {});

 private:
  struct Layer {
    LayerNorm norm1;
    ColumnLinear qkv;  // my heads of q, then k, then v
    RowLinear out;
    LayerNorm norm2;
    GeluLinear fc1;
    RowLinear fc2;
  };

  /// One layer over x [rows, hidden]. h_ holds its first norm of x, and then the norm behind it, `next`.
  void forward(const Layer& layer, const LayerNorm& next, Tensor x, std::span<const AttentionSpan> spans);

  VisionConfig config_;
  BlockPlan plan_;
  Rank rank_;
  int64_t images_;

  ColumnLinear patch_embedding_;  // whole on every rank, as are position and projector
  Vector position_;               // [tokens, hidden]
  std::vector<Layer> layers_;
  LayerNorm post_norm_;
  ColumnLinear projector_;

  Workspace workspace_;
  Tensor patches_;    // [rows, channels * patch * patch]
  Tensor x_;          // [rows, hidden], the residual stream
  Tensor h_, sum_;    // [rows, hidden]: operands; what goes into the residual stream
  Tensor qkv_;        // [rows, 3 * my heads * head_dim]
  Tensor attention_;  // [rows, my heads * head_dim]
  Tensor mlp_;        // [rows, my ffn]
  Tensor partials_;   // [my blocks * rows, hidden]
  KvShape kv_shape_;
  Buffer kv_;  // keys and values of one layer at a time
  size_t kv_bytes_ = 0;
  std::vector<int32_t> pages_;
};

}  // namespace lapidary
