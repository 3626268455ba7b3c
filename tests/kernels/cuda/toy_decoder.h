#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace lapidary {

inline constexpr int64_t kHead = 16, kHeads = 2, kColumns = (kHeads + 2) * kHead, kVocabulary = 40;
inline constexpr int64_t kPlaces = 6, kPagesEach = 3, kMax = kPagesEach * KvShape::kPageTokens;

/// A decoder of one layer: embedding from the token_table, RoPE, KV pages, attention, head, sampling to the
/// token_table.
class Toy {
 public:
  Toy(const DeviceChoice& choice, bool recorded) : device_(choice, 1), ops(device_.ops), recorded_(recorded) {
    embedding_ = matrix(kVocabulary, kColumns, 1);
    head_ = matrix(kVocabulary, kHeads * kHead, 2);
    std::vector<int32_t> first{3, 11, 27, 5, 39, 0, 0};
    token_table_ = tensor(kPlaces + 1, 1, DType::i32);
    ops.copy(token_table_, view(first.data(), DType::i32, kPlaces + 1, 1));
    Rows table = Rows::random(kMax, kHead, 3);
    cos_sin_ = tensor(kMax, kHead, DType::f32);
    ops.copy(cos_sin_, table.tensor());
    x_ = tensor(kPlaces, kColumns, DType::f32);
    out_ = tensor(kPlaces, kHeads * kHead, DType::f32);
    logits_ = tensor(kPlaces, kVocabulary, DType::f32);
    found_ = tensor(kPlaces, 2 * 8, DType::i32);
    tokens_ = tensor(kPlaces, 1, DType::i32);
    pages_ = ops.allocate(ops.kv_page_bytes(shape_) * static_cast<size_t>(kPlaces * kPagesEach));
    for (size_t place = 0; place < kPlaces; ++place) {
      lengths_[place] = 30 * static_cast<int64_t>(place);  // pages begin as zeros
      for (int64_t p = 0; p < kPagesEach; ++p)
        own_pages_[place].push_back(
            static_cast<int32_t>((static_cast<int64_t>(place) * kPagesEach + p) * 7 % 18));
    }
  }

  /// A token more for each of these slots, `rows` with the padding; behind other steps, nobody waits.
  void step(const std::vector<int32_t>& slots, int64_t rows) {
    spans_.clear(), positions_.clear(), ids_.clear(), sampling_.clear();
    slots_ = slots;
    for (int32_t place : slots) {
      const auto p = static_cast<size_t>(place);
      const int64_t position = lengths_[p]++;
      spans_.push_back({std::ssize(spans_), 1, position, 0, own_pages_[p]});
      positions_.push_back(static_cast<int32_t>(position));
      ids_.push_back(Backend::token_slot_id(place));
      sampling_.push_back(
          {place % 2 == 0 ? 0.0f : 1.5f, static_cast<uint64_t>(place), position, place == 3 ? 5 : 0, 1});
    }
    positions_.resize(static_cast<size_t>(rows));
    ids_.resize(static_cast<size_t>(rows), Backend::token_slot_id(kPlaces));
    sampling_.resize(static_cast<size_t>(rows));
    slots_.resize(static_cast<size_t>(rows), kPlaces);
    ops.prepare({spans_, positions_, ids_, slots_, sampling_, rows, kMax});
    recorded_ ? ops.replay(static_cast<uint64_t>(rows), [&] { compute(rows); }) : compute(rows);
  }

  std::vector<int32_t> token_table() {
    std::vector<int32_t> values(kPlaces);
    ops.copy(view(values.data(), DType::i32, kPlaces, 1), token_table_.row_range(0, kPlaces));
    return values;
  }
  std::vector<float> logits(int64_t rows) {
    std::vector<float> values(static_cast<size_t>(rows * kVocabulary));
    ops.copy(view(values.data(), DType::f32, rows, kVocabulary), logits_.row_range(0, rows));
    return values;
  }

 private:
  Device device_;

 public:
  Backend& ops;

 private:
  Tensor tensor(int64_t rows, int64_t cols, DType dtype) {
    buffers_.push_back(ops.allocate(static_cast<size_t>(rows * cols) * size_of(dtype)));
    return view(buffers_.back().get(), dtype, rows, cols);
  }
  Matrix matrix(int64_t out, int64_t in, uint32_t seed) {
    Rows values = Rows::random(out, in, seed);
    Matrix w = ops.make_matrix(out, in, DType::bf16, SumPlan::whole(in));
    ops.pack(w, 0, values.tensor());
    ops.reserve(kPlaces, kColumns);
    return w;
  }

  void compute(int64_t rows) {
    const Tensor x = x_.row_range(0, rows), out = out_.row_range(0, rows);
    const int64_t q = kHeads * kHead;
    ops.embed(x, embedding_, ids_, token_table_, 0, 1);
    ops.rope(x.col_range(0, q + kHead), kHead, cos_sin_, positions_);
    ops.store_kv(pages_.get(), shape_, spans_, x.col_range(q, q + kHead), x.col_range(q + kHead, kColumns));
    ops.attention(out, x.col_range(0, q), pages_.get(), shape_, spans_, args_);
    const Tensor logits = logits_.row_range(0, rows), tokens = tokens_.row_range(0, rows);
    ops.matmul(logits, out, head_);
    ops.top_candidates(found_.row_range(0, rows), logits, 0, 3, sampling_);
    ops.sample(tokens, found_.row_range(0, rows), sampling_);
    ops.scatter(token_table_, slots_, tokens);
  }

  const bool recorded_;
  const KvShape shape_{1, kHead, DType::bf16};
  const AttentionArgs args_{kHeads, 2, 0, 0.25f, 0, 0, false};
  std::vector<Buffer> buffers_;
  Matrix embedding_, head_;
  Tensor token_table_, cos_sin_, x_, out_, logits_, found_, tokens_;
  Buffer pages_;
  std::array<int64_t, kPlaces> lengths_{};
  std::array<std::vector<int32_t>, kPlaces> own_pages_;
  std::vector<AttentionSpan> spans_;
  std::vector<int32_t> positions_, ids_, slots_;
  std::vector<SamplingParams> sampling_;
};

}  // namespace lapidary
