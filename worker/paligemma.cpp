#include "worker/paligemma.h"

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

PaliGemma::PaliGemma(const ModelConfig& config, const NumericsProfile& profile, WeightStore& weights,
                     Rank rank, const Capacity& capacity)
    : config_(config),
      profile_(profile),
      plan_(plan_for(config_, rank.comm.rank(), rank.comm.size())),
      rank_(rank),
      alone_(make_solo()),
      capacity_(capacity),
      text_scale_(embedding_scale(config_.text.hidden_size, weights.linear())),
      embedding_(weights.matrix({{kEmbedding,
                                  {config_.text.vocab_size, config_.text.hidden_size},
                                  plan_.vocab,
                                  {0, config_.text.hidden_size}}})),
      vision_(config_.vision, config_.text.hidden_size, weights, plan_.vision,
              plan_.vision_ranks > 1 ? rank : Rank{rank.ops, *alone_}, capacity.images),
      decoder_(config_.text, profile, weights, plan_.decoder, rank, capacity.rows, capacity.length),
      kv_(rank.ops, decoder_.kv_shape(), config_.text.layers, capacity.pages),
      embed_finish_(one_block_a_rank(rank.comm.size())),
      slots_space_(rank.ops),
      workspace_(rank.ops) {
  const int64_t hidden = config_.text.hidden_size, tokens = config_.vision.tokens();
  // A tied head is usually not stored, or stored as a copy. One that differs is another weight, whatever the
  // config says; transformers decides the same way.
  const bool tied = config_.text.tie_word_embeddings &&
                    (!weights.contains(kHead) || weights.same_rows(kEmbedding, kHead, plan_.vocab));
  if (tied) {
    weights.ignore(kHead);
  } else {
    head_ = weights.matrix({{kHead, {config_.text.vocab_size, hidden}, plan_.vocab, {0, hidden}}});
  }
  weights.check_all_used();
  weight_bytes_ = weights.bytes();

  image_scale_ = profile.image_scale == ImageScale::none
                     ? 1
                     : static_cast<float>(text_scale_ / std::sqrt(static_cast<double>(hidden)));
  final_cap_ = static_cast<float>(softcaps(profile.softcap, config_.text).final.value_or(0));

  slots_ = slots_space_.make(capacity.slots * tokens, hidden);
  encoded_ = workspace_.make(capacity.images * tokens, hidden);
  x_ = workspace_.make(capacity.rows, hidden);
  embedded_ = workspace_.make(rank.comm.size() > 1 ? capacity.rows : 0, hidden);
  last_ = workspace_.make(capacity.sequences, hidden);
  normed_ = workspace_.make(capacity.sequences, hidden);
  logits_ = workspace_.make(capacity.sequences, plan_.vocab.size());
}

PaliGemma::Memory PaliGemma::memory() const {
  return {static_cast<size_t>(weight_bytes_), kv_.bytes(), slots_space_.bytes(),
          workspace_.bytes() + vision_.workspace_bytes() + decoder_.workspace_bytes()};
}

void PaliGemma::encode(std::span<const uint8_t* const> images, std::span<const int32_t> slots,
                       const float* value_of, const Probe& probe) {
  const int64_t tokens = config_.vision.tokens();
  for (size_t begin = 0; begin < images.size(); begin += static_cast<size_t>(capacity_.images)) {
    const auto batch =
        images.subspan(begin, std::min(images.size() - begin, static_cast<size_t>(capacity_.images)));
    const auto count = static_cast<int64_t>(batch.size());
    const Tensor encoded = encoded_.row_range(0, count * tokens);
    vision_.encode(encoded, batch, value_of, probe);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t slot = slots[begin + static_cast<size_t>(i)];
      rank_.ops.copy(slots_.row_range(slot * tokens, (slot + 1) * tokens),
                     encoded.row_range(i * tokens, (i + 1) * tokens));
    }
  }
}

Tensor PaliGemma::embed(std::span<const SequenceRows> step, int64_t rows) {
  const Tensor x = x_.row_range(0, rows);
  const Tensor mine = rank_.comm.size() > 1 ? embedded_.row_range(0, rows) : x;
  int64_t row = 0;
  for (const SequenceRows& sequence : step) {
    const auto count = static_cast<int64_t>(sequence.ids.size());
    rank_.ops.embed(mine.row_range(row, row + count), embedding_, sequence.ids, plan_.vocab.begin,
                    text_scale_);
    row += count;
  }
  rank_.ops.synchronize();
  if (rank_.comm.size() > 1) rank_.comm.tree_sum(x, mine, embed_finish_);
  return x;
}

void PaliGemma::place_images(Tensor x, std::span<const SequenceRows> step) {
  const int64_t tokens = config_.vision.tokens();
  int64_t row = 0;
  for (const SequenceRows& sequence : step) {
    int64_t placed = 0;
    for (size_t i = 0; i < sequence.ids.size() && !sequence.slots.empty();) {
      size_t end = i;
      while (end < sequence.ids.size() && sequence.ids[end] == config_.image_token_id) ++end;
      for (; i < end; ++placed) {  // rows of one image at a time
        const int64_t slot = sequence.slots[static_cast<size_t>(placed / tokens)];
        const int64_t first = placed % tokens;
        const auto run = std::min<int64_t>(tokens - first, static_cast<int64_t>(end - i));
        const Tensor to = x.row_range(row + static_cast<int64_t>(i), row + static_cast<int64_t>(i) + run);
        rank_.ops.copy(to, slots_.row_range(slot * tokens + first, slot * tokens + first + run));
        if (image_scale_ != 1) rank_.ops.scale(to, image_scale_);
        i += static_cast<size_t>(run);
        placed += run - 1;
      }
      while (i < sequence.ids.size() && sequence.ids[i] != config_.image_token_id) ++i;
    }
    row += static_cast<int64_t>(sequence.ids.size());
  }
}

Tensor PaliGemma::forward(std::span<const SequenceRows> step, const Probe& probe) {
  RaggedRows ragged;
  int64_t rows = 0;
  for (const SequenceRows& sequence : step) {
    const auto count = static_cast<int64_t>(sequence.ids.size());
    ragged.spans.push_back({rows, count, sequence.position, sequence.prefix, sequence.pages});
    for (int64_t i = 0; i < count; ++i)
      ragged.positions.push_back(
          static_cast<int32_t>(sequence.position + i + 1));  // transformers counts from 1
    rows += count;
  }
  const auto sequences = static_cast<int64_t>(step.size());
  if (rows > capacity_.rows || sequences > capacity_.sequences)
    throw std::logic_error(cat("a step of ", rows, " rows of ", sequences, " sequences; built for ",
                               capacity_.rows, " of ", capacity_.sequences));

  const Tensor x = embed(step, rows);
  place_images(x, step);
  report(probe, "decoder.embeddings", x);
  decoder_.forward(x, ragged, kv_, probe);
  if (probe) {
    Workspace traced(rank_.ops);
    const Tensor all = traced.make(rows, config_.text.hidden_size);
    decoder_.norm(all, x);
    report(probe, "decoder.norm", all);
  }

  const Tensor last = last_.row_range(0, sequences), normed = normed_.row_range(0, sequences);
  for (int64_t s = 0; s < sequences; ++s) {
    const AttentionSpan& span = ragged.spans[static_cast<size_t>(s)];
    const int64_t row = span.first_row + span.rows - 1;
    rank_.ops.copy(last.row_range(s, s + 1), x.row_range(row, row + 1));
  }
  decoder_.norm(normed, last);
  const Tensor logits = logits_.row_range(0, sequences);
  rank_.ops.matmul(logits, normed, head_.out > 0 ? head_ : embedding_);
  if (final_cap_ > 0) rank_.ops.softcap(logits, final_cap_);
  return logits;
}

}  // namespace lapidary
