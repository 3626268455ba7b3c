#include "worker/model/siglip.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "configs/error.h"

namespace lapidary {

AttentionLimits attention_of(const VisionConfig& config, const BlockPlan& plan, int64_t images) {
  const int64_t tokens = config.tokens(), pages = (tokens + KvShape::kPageTokens - 1) / KvShape::kPageTokens;
  return {images, images * tokens, images * pages, plan.heads.size(), config.head_dim()};
}

Siglip::Siglip(const VisionConfig& config, int64_t projection, WeightStore& weights, const BlockPlan& plan,
               Rank rank, int64_t images)
    : config_(config), plan_(plan), rank_(rank), images_(images), workspace_(rank.ops) {
  const int64_t hidden = config.hidden_size, head_dim = config.head_dim(), ffn = config.intermediate_size;
  const int64_t pixels = config.channels * config.patch_size * config.patch_size;
  const auto eps = static_cast<float>(config.layer_norm_eps);
  const std::string tower = "vision_tower.";
  const auto norm = [&](const std::string& name) {
    return LayerNorm{weights.vector(name + ".weight", hidden), weights.vector(name + ".bias", hidden), eps};
  };

  const std::string patch = tower + "embeddings.patch_embedding";
  patch_embedding_ = load_columns(weights, {weight_rows(patch, hidden, pixels, {0, hidden})}, true);
  position_ =
      weights.vector({Slice::whole(tower + "embeddings.position_embedding.weight", config.tokens(), hidden)});
  const Range heads{plan.heads.begin * head_dim, plan.heads.end * head_dim};
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = cat(tower, "encoder.layers.", i, ".");
    const auto qkv = [&](const char* which) {
      return weight_rows(name + "self_attn." + which, hidden, hidden, heads);
    };
    Layer layer;
    layer.norm1 = norm(name + "layer_norm1");
    layer.qkv = load_columns(weights, {qkv("q_proj"), qkv("k_proj"), qkv("v_proj")}, true);
    layer.out = load_rows(weights, name + "self_attn.out_proj", hidden, hidden, heads, plan.out_sums,
                          plan.out_finish, weights.linear(), true);
    layer.norm2 = norm(name + "layer_norm2");
    layer.fc1 = {load_columns(weights, {weight_rows(name + "mlp.fc1", ffn, hidden, plan.ffn)}, true)};
    layer.fc2 = load_rows(weights, name + "mlp.fc2", hidden, ffn, plan.ffn, plan.down_sums, plan.down_finish,
                          weights.linear(), true);
    layers_.push_back(std::move(layer));
  }
  post_norm_ = norm(tower + "post_layernorm");
  projector_ = load_columns(
      weights, {weight_rows("multi_modal_projector.linear", projection, hidden, {0, projection})}, true);

  const int64_t rows = images * config.tokens();
  const int64_t mine = plan.heads.size() * head_dim;
  const DType operands = rank.ops.operands(weights.linear());
  patches_ = workspace_.make(rows, pixels, operands);
  x_ = workspace_.make(rows, hidden);
  h_ = workspace_.make(rows, hidden, operands);
  sum_ = operands == DType::f32 ? h_ : workspace_.make(rows, hidden);
  qkv_ = workspace_.make(rows, 3 * mine, operands);
  attention_ = workspace_.make(rows, mine, operands);
  mlp_ = workspace_.make(rows, plan.ffn.size(), operands);
  const int blocks = std::max(plan.out_sums.outputs(), plan.down_sums.outputs());
  partials_ = workspace_.make(rank.comm.size() > 1 ? blocks * rows : 0, hidden);

  kv_shape_ = {plan.heads.size(), head_dim, weights.linear()};
  const int64_t pages = (config.tokens() + KvShape::kPageTokens - 1) / KvShape::kPageTokens;
  kv_bytes_ = static_cast<size_t>(images * pages) * rank.ops.kv_page_bytes(kv_shape_);
  kv_ = rank.ops.allocate(kv_bytes_);
  pages_.resize(static_cast<size_t>(images * pages));
  std::iota(pages_.begin(), pages_.end(), 0);
}

void Siglip::tune() {
  if (layers_.empty()) return;
  const Layer& layer = layers_.front();
  rank_.ops.tune(x_.rows(), [&](int64_t rows) {
    const Tensor h = h_.row_range(0, rows), x = x_.row_range(0, rows), mlp = mlp_.row_range(0, rows);
    layer.qkv(rank_, qkv_.row_range(0, rows), h);
    layer.out.product(rank_, x, attention_.row_range(0, rows), partials_, true);
    layer.fc1(rank_, mlp, h);
    layer.fc2.product(rank_, x, mlp, partials_, true);
  });
}

void Siglip::encode(Tensor out, std::span<const uint8_t* const> images, const float* value_of,
                    const TensorHook& hook) {
  const auto count = static_cast<int64_t>(images.size());
  const int64_t tokens = config_.tokens(), rows = count * tokens;
  if (count > images_) throw std::logic_error("more images at once than the vision tower was built for");
  const Tensor patches = patches_.row_range(0, rows), x = x_.row_range(0, rows), h = h_.row_range(0, rows);

  std::vector<AttentionSpan> spans;
  const size_t pages = pages_.size() / static_cast<size_t>(images_);
  for (int64_t i = 0; i < count; ++i) {
    const auto image = static_cast<size_t>(i);
    rank_.ops.patchify(patches.row_range(i * tokens, (i + 1) * tokens), images[image], config_.image_size,
                       config_.patch_size, value_of);
    spans.push_back({i * tokens, tokens, 0, tokens, std::span(pages_).subspan(image * pages, pages)});
  }
  patch_embedding_(rank_, x, patches);
  // The position table, seen as one long row, is added to each image's rows seen the same way.
  rank_.ops.add_bias(view(x.data, DType::f32, count, tokens * config_.hidden_size), position_.get());
  report(hook, "vision.embeddings", x);
  const auto norm_of = [&](size_t i) -> const LayerNorm& {
    return i < layers_.size() ? layers_[i].norm1 : post_norm_;
  };
  norm_of(0)(rank_, h, x);
  for (size_t i = 0; i < layers_.size(); ++i) {
    forward(layers_[i], norm_of(i + 1), x, spans);
    report(hook, cat("vision.layers.", i), x);
  }
  report(hook, "vision.output", h);
  projector_(rank_, out, h);
  report(hook, "projector", out);
}

void Siglip::forward(const Layer& layer, const LayerNorm& next, Tensor x,
                     std::span<const AttentionSpan> spans) {
  const int64_t rows = x.rows(), width = plan_.heads.size() * config_.head_dim();
  const Tensor h = h_.row_range(0, rows), sum = sum_.row_range(0, rows), qkv = qkv_.row_range(0, rows),
               attention = attention_.row_range(0, rows);
  const Tensor mlp = mlp_.row_range(0, rows);
  AttentionArgs args;
  args.heads = plan_.heads.size();
  args.scale = 1 / std::sqrt(static_cast<float>(config_.head_dim()));

  layer.qkv(rank_, qkv, h);
  rank_.ops.store_kv(kv_.get(), kv_shape_, spans, qkv.col_range(width, 2 * width),
                     qkv.col_range(2 * width, 3 * width));
  rank_.ops.attention(attention, qkv.col_range(0, width), kv_.get(), kv_shape_, spans, args);
  layer.out.add_to(rank_, x, attention, sum, partials_);
  layer.norm2(rank_, h, x);
  layer.fc1(rank_, mlp, h);
  layer.fc2.add_to(rank_, x, mlp, sum, partials_);
  next(rank_, h, x);
}

}  // namespace lapidary
