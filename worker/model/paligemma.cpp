#include "worker/model/paligemma.h"

#include <algorithm>
#include <cmath>

#include "configs/error.h"

namespace lapidary {
namespace {

const std::string kEmbedding = "language_model.embed_tokens.weight";
const std::string kHead = "lm_head.weight";

/// √hidden as the checkpoint's own dtype holds it: transformers rounds the factor to the weights' dtype.
float embedding_scale(int64_t hidden, DType dtype) {
  const auto root = static_cast<float>(std::sqrt(static_cast<double>(hidden)));
  return dtype == DType::bf16 ? from_bf16(to_bf16(root)) : root;
}

/// Each row comes from the one rank that holds it, and zeros from the rest: any order of addition gives its
/// bits.
SumTree::Finish one_block_a_rank(int ranks) {
  SumTree::Finish finish;
  for (int r = 0; r < ranks; ++r) {
    finish.blocks.push_back(1);
    finish.merges.push_back(r == 0 ? 0 : 1);
  }
  return finish;
}

}  // namespace

ShardPlan PaliGemma::plan_for(const ModelConfig& config, int rank, int ranks) {
  const VisionConfig& v = config.vision;
  const TextConfig& t = config.text;
  return make_plan({"the vision tower", v.heads, v.heads, v.head_dim(), v.intermediate_size},
                   {"the decoder", t.heads, t.kv_heads, t.head_dim, t.intermediate_size}, t.vocab_size, rank,
                   ranks);
}

void Batch::clear() {
  ids.clear();
  image_rows.clear();
  rows.spans.clear();
  rows.positions.clear();
  padding = 0;
}

void Batch::pad(int64_t count, int32_t id) {
  padding += count;
  ids.insert(ids.end(), static_cast<size_t>(count), id);
  rows.positions.insert(rows.positions.end(), static_cast<size_t>(count), 0);
}

void Batch::add(int64_t count, int64_t position, int64_t prefix, std::span<const int32_t> pages) {
  rows.spans.push_back({size(), count, position, prefix, pages});
  for (int64_t i = 0; i < count; ++i)
    rows.positions.push_back(static_cast<int32_t>(position + i + 1));  // transformers counts from 1
}

PaliGemma::PaliGemma(const ModelConfig& config, const NumericsProfile& profile, WeightStore& weights,
                     Rank rank, const Capacity& capacity, const StagePart& share)
    : config_(config),
      plan_(plan_for(config_, rank.comm.rank(), rank.comm.size())),
      rank_(rank),
      alone_(make_solo_rows()),
      capacity_(capacity),
      text_scale_(embedding_scale(config_.text.hidden_size, weights.linear())),
      decoder_(config_.text, profile, weights, plan_.decoder, rank, share.layers,
               capacity.max_num_batched_tokens(), capacity.max_model_len()),
      kv_(rank.ops, decoder_.kv_shape(), share.layers.size(), capacity.num_kv_pages()),
      embed_finish_(one_block_a_rank(rank.comm.size())),
      workspace_(rank.ops) {
  const int64_t hidden = config_.text.hidden_size, vocab = config_.text.vocab_size;
  if (share.embedding) embedding_ = weights.matrix({{kEmbedding, {vocab, hidden}, plan_.vocab, {0, hidden}}});
  if (share.shared_vision)
    vision_.emplace(config_.vision, hidden, weights, plan_.vision,
                    plan_.vision_ranks > 1 ? rank : Rank{rank.ops, *alone_}, capacity.max_encode_images());
  if (share.head) load_head(weights);
  ignore_others(weights, config_, share);
  weights.check_all_used();
  weights.finish();
  weight_bytes_ = weights.bytes();

  image_scale_ = profile.image_scale == ImageScale::none
                     ? 1
                     : static_cast<float>(text_scale_ / std::sqrt(static_cast<double>(hidden)));
  final_cap_ = static_cast<float>(softcaps(profile, config_.text).final.value_or(0));

  embedded_ = workspace_.make(share.embedding && rank.comm.size() > 1 ? capacity.max_num_batched_tokens() : 0,
                              hidden);
  const int64_t sequences = share.head ? capacity.max_num_seqs() : 0;
  last_ = workspace_.make(sequences, hidden);
  normed_ = workspace_.make(sequences, hidden, rank.ops.operands(weights.linear()));
  logits_ = workspace_.make(sequences, plan_.vocab.size());
}

/// A tied head is usually not stored, or stored as a copy. One that differs is another weight, whatever the
/// config says; transformers decides the same way.
void PaliGemma::load_head(WeightStore& weights) {
  const int64_t hidden = config_.text.hidden_size, vocab = config_.text.vocab_size;
  const auto load = [&](const std::string& name) {
    return weights.matrix({{name, {vocab, hidden}, plan_.vocab, {0, hidden}}});
  };
  const bool tied = config_.text.tie_word_embeddings &&
                    (!weights.contains(kHead) || weights.same_rows(kEmbedding, kHead, plan_.vocab));
  if (!tied) {
    head_ = load(kHead);
    weights.ignore(kEmbedding);  // the first stage's
    return;
  }
  weights.ignore(kHead);
  if (embedding_.out == 0) embedding_ = load(kEmbedding);
}

Memory PaliGemma::memory() const {
  const size_t vision = vision_ ? vision_->workspace_bytes() : 0;
  return {static_cast<size_t>(weight_bytes_), kv_.bytes(), 0,
          workspace_.bytes() + vision + decoder_.workspace_bytes()};
}

void PaliGemma::tune() {
  decoder_.tune();
  if (vision_) vision_->tune();
}

void PaliGemma::encode(Tensor out, std::span<const uint8_t* const> images, const float* value_of,
                       const TensorHook& hook) {
  if (!vision_) throw std::logic_error("this rank shares no vision tower");
  const int64_t tokens = config_.vision.tokens(), count = static_cast<int64_t>(images.size());
  for (int64_t begin = 0; begin < count; begin += capacity_.max_encode_images()) {
    const int64_t end = std::min(count, begin + capacity_.max_encode_images());
    vision_->encode(out.row_range(begin * tokens, end * tokens),
                    images.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)), value_of,
                    hook);
  }
}

void PaliGemma::embed(Tensor x, const Batch& batch, Tensor token_table, Tensor images,
                      const TensorHook& hook) {
  const Tensor mine = rank_.comm.size() > 1 ? embedded_.row_range(0, x.rows()) : x;
  rank_.ops.embed(mine, embedding_, batch.ids, token_table, plan_.vocab.begin, text_scale_);
  if (rank_.comm.size() > 1) rank_.comm.all_reduce(x, mine, embed_finish_);

  const int64_t tokens = config_.vision.tokens();
  for (size_t i = 0; i < batch.image_rows.size(); ++i) {
    const int64_t row = batch.image_rows[i], from = static_cast<int64_t>(i) * tokens;
    const Tensor to = x.row_range(row, row + tokens);
    rank_.ops.copy(to, images.row_range(from, from + tokens));
    if (image_scale_ != 1) rank_.ops.scale(to, image_scale_);
  }
  report(hook, "decoder.embeddings", x);
}

void PaliGemma::run_layers(Tensor x, const Batch& batch, LayerRun run, Communicator& peers,
                           const TensorHook& hook) {
  decoder_.forward(x, batch.rows, kv_, run, peers, hook);
}

Tensor PaliGemma::last_rows(Tensor x, const Batch& batch) {
  const std::vector<AttentionSpan>& spans = batch.rows.spans;
  const auto row_of = [&](size_t s) { return spans[s].first_row + spans[s].rows - 1; };
  for (size_t begin = 0, end = 0; begin < spans.size(); begin = end) {
    const int64_t apart = begin + 1 < spans.size() ? row_of(begin + 1) - row_of(begin) : 1;
    for (end = begin + 1; end < spans.size() && row_of(end) - row_of(end - 1) == apart;) ++end;
    Tensor run = x.row_range(row_of(begin), row_of(begin) + 1);
    run.shape[0] = static_cast<int64_t>(end - begin);
    run.stride = apart * x.stride;
    if (end - begin == spans.size()) return run;
    rank_.ops.copy(last_.row_range(static_cast<int64_t>(begin), static_cast<int64_t>(end)), run);
  }
  return last_.row_range(0, batch.sequences());
}

Tensor PaliGemma::logits(Tensor x, const Batch& batch, const TensorHook& hook) {
  if (hook) {
    Workspace traced(rank_.ops);
    const Tensor all = traced.make(x.rows(), x.cols());
    decoder_.norm(all, x);
    report(hook, "decoder.norm", all);
  }
  const bool decodes = batch.decodes_only();
  const int64_t sequences = decodes ? x.rows() : batch.sequences();
  const Tensor normed = normed_.row_range(0, sequences);
  decoder_.norm(normed, decodes ? x : last_rows(x, batch));
  const Tensor logits = logits_.row_range(0, sequences);
  rank_.ops.matmul(logits, normed, head_.out > 0 ? head_ : embedding_);
  return logits;
}

void PaliGemma::report_logits(Tensor mine, const TensorHook& hook) {
  Communicator& comm = rank_.comm.host();
  const int64_t rows = mine.rows(), vocab = config_.text.vocab_size;
  std::vector<size_t> sizes;
  for (int r = 0; r < comm.size(); ++r)
    sizes.push_back(static_cast<size_t>(rows * plan_for(config_, r, comm.size()).vocab.size()) *
                    sizeof(float));
  std::vector<float> slices(static_cast<size_t>(rows * vocab)), whole(slices.size());
  std::vector<float> own(static_cast<size_t>(rows * mine.cols()));
  rank_.ops.copy(view(own.data(), DType::f32, rows, mine.cols()), mine);
  comm.all_gather(reinterpret_cast<std::byte*>(slices.data()), std::as_bytes(std::span(own)), sizes);
  const float* from = slices.data();
  int64_t first = 0;
  for (size_t bytes : sizes) {
    const int64_t cols = static_cast<int64_t>(bytes / sizeof(float)) / rows;
    for (int64_t r = 0; r < rows; ++r, from += cols)
      std::copy(from, from + cols, whole.data() + r * vocab + first);
    first += cols;
  }
  report(hook, "logits", view(whole.data(), DType::f32, rows, vocab));
}

}  // namespace lapidary
