#pragma once

#include <cstdint>

#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/math.h"

namespace lapidary::cpu {

/// How probabilities are handed to the tile kernel: as they are, rounded to bf16, or rounded but kept as
/// float32.
enum class Weights : uint8_t { f32, bf16, bf16_as_f32 };

/// What a block of rows carries from page to page: softmax over the keys so far, not yet divided by its sum.
struct SoftmaxState {
  float* row_max;  // [rows] largest score so far, -inf before the first
  float* sums;     // [rows][16] sixteen partial sums of the weights
  float* out;      // [rows][out_stride] weighted sum of the values
  int64_t out_stride;
  int64_t out_cols;  // a multiple of 16
};

/// One page of scores; rows kPageKeys apart.
struct ScorePage {
  static constexpr int64_t kPageKeys = 64;
  const float* scores;
  void* weights;  // float or bf16, by kind
  Weights kind;
  int rows;
  int panels;       // of 16 keys that were computed: 2 or 4
  const int* seen;  // [rows][2] keys [begin, end) that the row sees; null: all that were computed
  float scale;      // weights are exp(scale * score), or exp(cap * tanh(scale * score / cap))
  float cap;        // 0: none
};

struct AttentionKernels {
  /// Online softmax: takes the page into row_max and sums, rescales `out` where the largest score grew, and
  /// writes the page's weights. What a row doesn't see changes no bit of it.
  void (*softmax)(const SoftmaxState& state, const ScorePage& page);
  /// y [n] = row of out / its sum.
  void (*divide)(float* y, const float* out, const float* sums, int64_t n);
  /// x [n] rounded to bf16, as to_bf16 does.
  void (*narrow)(uint16_t* y, const float* x, int64_t n);
};

// Templates over V only: see row_kernels.h.

/// How thirty-two weights become bf16; a machine with an instruction for it brings its own.
template <class V>
struct NarrowWeights {
  static void store(uint16_t* y, V a, V b) {
    a.store_bf16(y);
    b.store_bf16(y + 16);
  }
};

template <class V, class Narrow>
struct Attention {
  static constexpr float kLog2E = 1.44269504f;

  static V largest(const V* s, int panels) {
    const V m = max(s[0], s[1]);
    return panels == 2 ? m : max(m, max(s[2], s[3]));
  }

  /// -inf where key 16 j + lane lies outside [begin, end).
  static void mask(V* s, int panels, const int* seen) {
    static constexpr float kLanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const V lowest = V::set1(-__builtin_inff());
    const V before = V::set1(static_cast<float>(seen[0]) - 0.5f);
    const V end = V::set1(static_cast<float>(seen[1]));
    for (int j = 0; j < panels; ++j) {
      const V key = V::load(kLanes) + V::set1(static_cast<float>(16 * j));
      s[j] = select_greater(key, before, select_greater(end, key, s[j], lowest), lowest);
    }
  }

  template <Weights kind>
  static void store(void* weights, int64_t at, V a, V b) {
    if constexpr (kind == Weights::bf16) {
      Narrow::store(static_cast<uint16_t*>(weights) + at, a, b);
      return;
    }
    if constexpr (kind == Weights::bf16_as_f32) {
      uint16_t lanes[32];
      Narrow::store(lanes, a, b);
      a = V::load_bf16(lanes);
      b = V::load_bf16(lanes + 16);
    }
    a.store(static_cast<float*>(weights) + at);
    b.store(static_cast<float*>(weights) + at + 16);
  }

  /// The weights of one row: 2^(factor (s - row_max)), with factor = scale * log2(e).
  template <Weights kind, int panels>
  static void row(const SoftmaxState& state, const ScorePage& page, int r, float factor) {
    V s[panels];
    for (int j = 0; j < panels; ++j) s[j] = V::load(page.scores + r * ScorePage::kPageKeys + 16 * j);
    if (page.cap > 0) {
      const V inner = V::set1(page.scale / page.cap);
      for (V& v : s) v = V::set1(page.cap) * cpu::tanh(v * inner);
    }
    if (page.seen != nullptr) mask(s, panels, page.seen + 2 * r);
    const float old = state.row_max[r];
    const float here = reduce_max(largest(s, panels));
    const float largest = here > old ? here : old;
    // Nothing seen yet: any finite number keeps -inf - -inf away.
    const float offset = largest > -__builtin_inff() ? largest * factor : 0.0f;
    V sum = V::load(state.sums + 16 * r);
    if (largest > old) {
      state.row_max[r] = largest;
      if (old > -__builtin_inff()) {  // else sum and out are zeros
        const V shrink = cpu::exp2(V::set1(old * factor - offset));
        sum = sum * shrink;
        float* out = state.out + r * state.out_stride;
        for (int64_t c = 0; c < state.out_cols; c += 16) (V::load(out + c) * shrink).store(out + c);
      }
    }
    for (V& v : s) v = cpu::exp2(fma(v, V::set1(factor), V::set1(-offset)));
    for (int j = 0; j < panels; j += 2) {
      store<kind>(page.weights, r * ScorePage::kPageKeys + 16 * j, s[j], s[j + 1]);
    }
    V total = s[0] + s[1];
    if constexpr (panels == 4) total = total + (s[2] + s[3]);
    (sum + total).store(state.sums + 16 * r);
  }

  template <Weights kind>
  static void rows(const SoftmaxState& state, const ScorePage& page) {
    const float factor = page.cap > 0 ? kLog2E : page.scale * kLog2E;
    for (int r = 0; r < page.rows; ++r) {
      if (page.panels == 2) {
        row<kind, 2>(state, page, r, factor);
      } else {
        row<kind, 4>(state, page, r, factor);
      }
    }
  }

  static void softmax(const SoftmaxState& state, const ScorePage& page) {
    switch (page.kind) {
      case Weights::f32:
        return rows<Weights::f32>(state, page);
      case Weights::bf16:
        return rows<Weights::bf16>(state, page);
      case Weights::bf16_as_f32:
        return rows<Weights::bf16_as_f32>(state, page);
    }
  }

  static void divide(float* y, const float* out, const float* sums, int64_t n) {
    const V sum = V::set1(reduce_sum(V::load(sums)));
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) (V::load(out + i) / sum).store(y + i);
    const int rest = static_cast<int>(n - i);
    if (rest > 0) (V::load_n(out + i, rest) / sum).store_n(y + i, rest);
  }

  static void narrow(uint16_t* y, const float* x, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) V::load(x + i).store_bf16(y + i);
    const int rest = static_cast<int>(n - i);
    if (rest > 0) V::load_n(x + i, rest).store_bf16_n(y + i, rest);
  }
};

template <class V, class Narrow = NarrowWeights<V>>
const AttentionKernels& attention_kernels() {
  using A = Attention<V, Narrow>;
  static constexpr AttentionKernels kKernels{A::softmax, A::divide, A::narrow};
  return kKernels;
}

}  // namespace lapidary::cpu
