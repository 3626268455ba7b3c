#include "worker/model/gemma2.h"

#include <algorithm>
#include <cmath>

#include "configs/error.h"

namespace lapidary {
namespace {

/// Angles as transformers computes them, in float32: position * theta^(-2j / head_dim).
std::vector<float> rotary_table(int64_t positions, int64_t head_dim, double theta) {
  std::vector<float> table(static_cast<size_t>(positions * head_dim));
  const Tensor cos_sin = view(table.data(), DType::f32, positions, head_dim);
  const int64_t half = head_dim / 2;
  for (int64_t j = 0; j < half; ++j) {
    const auto inverse = static_cast<float>(
        1.0 / std::pow(theta, static_cast<double>(2 * j) / static_cast<double>(cos_sin.cols())));
    for (int64_t position = 0; position < cos_sin.rows(); ++position) {
      const float angle = static_cast<float>(position) * inverse;
      cos_sin.row<float>(position)[j] = std::cos(angle);
      cos_sin.row<float>(position)[half + j] = std::sin(angle);
    }
  }
  return table;
}

Tensor rows_of(Tensor tensor, Range rows) { return tensor.row_range(rows.begin, rows.end); }

}  // namespace

Gemma2::Gemma2(const TextConfig& config, const NumericsProfile& profile, WeightStore& weights,
               const BlockPlan& plan, Rank rank, LayerRun layers, int64_t rows, int64_t length)
    : config_(config),
      profile_(profile),
      plan_(plan),
      rank_(rank),
      dtype_(weights.linear()),
      held_(layers),
      workspace_(rank.ops) {
  for (int64_t i = layers.begin; i < layers.end; ++i) layers_.push_back(load(weights, i));
  if (layers.end == config.layers)
    norm_ = {weights.vector("language_model.norm.weight", config.hidden_size),
             static_cast<float>(config.rms_norm_eps)};
  make_workspace(rows, length);
}

void Gemma2::make_workspace(int64_t rows, int64_t length) {
  const int64_t q = plan_.heads.size() * config_.head_dim, kv = plan_.kv_heads.size() * config_.head_dim;
  cos_sin_ = workspace_.make(length + 1, config_.head_dim);
  std::vector<float> table = rotary_table(length + 1, config_.head_dim, config_.rope_theta);
  rank_.ops.copy(cos_sin_, view(table.data(), DType::f32, cos_sin_.rows(), cos_sin_.cols()));
  const DType operands = rank_.ops.operands(dtype_);
  h_ = workspace_.make(rows, config_.hidden_size, operands);
  sum_ = operands == DType::f32 ? h_ : workspace_.make(rows, config_.hidden_size);
  qkv_ = workspace_.make(rows, q + 2 * kv, operands);
  attention_ = workspace_.make(rows, q, operands);
  const int64_t chunk = std::min(rows, rank_.ops.mlp_chunk_rows());
  gate_up_ = workspace_.make(chunk, layers_.empty() ? 0 : layers_.front().gate_up.w.out, operands);
  mlp_ = workspace_.make(chunk, plan_.ffn.size(), operands);
  // Where the sums of one half overlap the other half, each row has partials of its own.
  const int64_t down_rows = rows < rank_.ops.overlap_min_rows() ? chunk : rows;
  const int64_t partials = std::max(plan_.out_sums.outputs() * rows, plan_.down_sums.outputs() * down_rows);
  partials_ = workspace_.make(rank_.comm.size() > 1 ? partials : 0, config_.hidden_size);
}

Gemma2::Layer Gemma2::load(WeightStore& weights, int64_t index) const {
  const int64_t hidden = config_.hidden_size, head_dim = config_.head_dim, ffn = config_.intermediate_size;
  const int64_t q = config_.heads * head_dim, kv = config_.kv_heads * head_dim;
  const std::string name = cat("language_model.layers.", index, ".");
  const Range my_q{plan_.heads.begin * head_dim, plan_.heads.end * head_dim};
  const Range my_kv{plan_.kv_heads.begin * head_dim, plan_.kv_heads.end * head_dim};
  const auto norm = [&](const char* which) {
    return RmsNorm{weights.vector(name + which + ".weight", hidden),
                   static_cast<float>(config_.rms_norm_eps)};
  };

  Layer layer;
  layer.input_norm = norm("input_layernorm");
  layer.qkv.w = weights.matrix({weight_rows(name + "self_attn.q_proj", q, hidden, my_q),
                                weight_rows(name + "self_attn.k_proj", kv, hidden, my_kv),
                                weight_rows(name + "self_attn.v_proj", kv, hidden, my_kv)},
                               SumPlan::whole(hidden), weights.decoder());
  layer.out = load_rows(weights, name + "self_attn.o_proj", hidden, q, my_q, plan_.out_sums, plan_.out_finish,
                        weights.decoder());
  layer.post_attention_norm = norm("post_attention_layernorm");
  layer.pre_ffn_norm = norm("pre_feedforward_layernorm");
  layer.gate_up.w =
      weights.gated(weight_rows(name + "mlp.gate_proj", ffn, hidden, plan_.ffn),
                    weight_rows(name + "mlp.up_proj", ffn, hidden, plan_.ffn), weights.decoder());
  layer.down = load_rows(weights, name + "mlp.down_proj", hidden, ffn, plan_.ffn, plan_.down_sums,
                         plan_.down_finish, weights.decoder());
  layer.post_ffn_norm = norm("post_feedforward_layernorm");

  layer.attention.heads = plan_.heads.size();
  layer.attention.group = config_.heads / config_.kv_heads;
  layer.attention.head_offset = plan_.heads.begin - plan_.kv_heads.begin * layer.attention.group;
  layer.attention.scale = static_cast<float>(1 / std::sqrt(config_.query_pre_attn_scalar));
  layer.attention.softcap = static_cast<float>(softcaps(profile_, config_).attention.value_or(0));
  if (profile_.window != WindowPolicy::full && config_.sliding_layers.at(static_cast<size_t>(index)))
    layer.attention.window = config_.sliding_window.value_or(0);
  layer.attention.window_in_prefix = profile_.window == WindowPolicy::hf447;
  return layer;
}

void Gemma2::tune() {
  if (layers_.empty()) return;
  const Layer& layer = layers_.front();
  rank_.ops.tune(h_.rows(), [&](int64_t rows) {
    layer.qkv(rank_, qkv_.row_range(0, rows), h_.row_range(0, rows));
    layer.out.product(rank_, sum_.row_range(0, rows), attention_.row_range(0, rows), partials_, false);
  });
  rank_.ops.tune(mlp_.rows(), [&](int64_t rows) {
    const Tensor mlp = mlp_.row_range(0, rows);
    layer.gate_up(rank_, mlp, h_.row_range(0, rows), gate_up_.row_range(0, rows));
    layer.down.product(rank_, sum_.row_range(0, rows), mlp, partials_, false);
  });
}

void Gemma2::forward(Tensor x, const RaggedRows& step, KvPages& kv, LayerRun run, Communicator& peers,
                     const TensorHook& hook) {
  RowHalves halves(rank_.ops, x.rows(), overlaps(x.rows()));
  for (int64_t i = run.begin; i < run.end; ++i) {
    const auto here = static_cast<size_t>(i - held_.begin);
    const Layer& layer = layers_.at(here);
    if (i == run.begin) layer.input_norm(rank_, h_.row_range(0, x.rows()), x);
    const RmsNorm* next_norm = i + 1 < run.end ? &layers_.at(here + 1).input_norm : nullptr;
    forward(layer, next_norm, x, halves, step, kv.layer(here));
    peers.progress();
    if (hook) halves.join();
    report(hook, cat("decoder.layers.", i), x);
  }
  halves.join();
}

void Gemma2::forward(const Layer& layer, const RmsNorm* next_norm, Tensor x, RowHalves& halves,
                     const RaggedRows& step, std::byte* pages) {
  const int64_t q = plan_.heads.size() * config_.head_dim;
  const Tensor qkv = qkv_.row_range(0, x.rows()), attention = attention_.row_range(0, x.rows());
  const bool overlap = halves.split();
  halves.each([&](Range rows) {
    layer.qkv(rank_, rows_of(qkv, rows), rows_of(h_, rows));
    return DeviceEvent();
  });
  rank_.ops.rope_and_store(qkv, plan_.heads.size(), cos_sin_, step.positions, pages, kv_shape(), step.spans);
  rank_.ops.attention(attention, qkv.col_range(0, q), pages, kv_shape(), step.spans, layer.attention);
  halves.each([&](Range rows) {
    return end_block(layer.out, rows_of(attention, rows), x, rows, layer.post_attention_norm,
                     &layer.pre_ffn_norm, overlap);
  });
  halves.each([&](Range rows) { return feed_forward(layer, next_norm, x, rows, overlap); });
}

DeviceEvent Gemma2::feed_forward(const Layer& layer, const RmsNorm* next_norm, Tensor x, Range rows,
                                 bool overlap) {
  DeviceEvent last;
  // Chunks of like length: a few rows left over would cost as much as many.
  const int64_t chunks = (rows.size() + mlp_.rows() - 1) / mlp_.rows();
  for (int64_t c = 0; c < chunks; ++c) {
    const Range chunk{rows.begin + rows.size() * c / chunks, rows.begin + rows.size() * (c + 1) / chunks};
    const Tensor gate_up = gate_up_.row_range(0, chunk.size()), mlp = mlp_.row_range(0, chunk.size());
    layer.gate_up(rank_, mlp, rows_of(h_, chunk), gate_up);
    last = end_block(layer.down, mlp, x, chunk, layer.post_ffn_norm, next_norm, overlap);
  }
  return last;
}

DeviceEvent Gemma2::end_block(const RowLinear& linear, Tensor in, Tensor x, Range rows, const RmsNorm& post,
                              const RmsNorm* next, bool overlap) {
  const AddNorm to = add_norm(rows_of(h_, rows), rows_of(x, rows), rows_of(sum_, rows), post, next);
  if (overlap) {  // each row has partials of its own
    const int64_t a_row = partials_.rows() / h_.rows();
    return linear.start(rank_, to, in, partials_.row_range(rows.begin * a_row, rows.end * a_row));
  }
  linear(rank_, to, in, partials_);
  return nullptr;
}

bool Gemma2::overlaps(int64_t rows) const {
  return rank_.comm.size() > 1 && rank_.comm.in_stream() &&
         rows >= std::max<int64_t>(2, rank_.ops.overlap_min_rows());
}

}  // namespace lapidary
