#pragma once

#include <cuda_platform.h>

#include <cstdint>

// From scores to the weights of the softmax, for the kernels on tensor cores.

namespace lapidary::cuda {

inline constexpr float kLog2E = 1.44269504f;
inline constexpr uint32_t kAllLanes = 0xffffffffu;

/// A weight is 2^(factor · s - offset), with the offset that makes a row's largest weight 1; with a soft-cap
/// it is 2^(cap · log2(e) · tanh(inner · s)) and needs none: exponents lie in ±87 (kMaxSoftcap), and sums of
/// 2^20 weights times values of up to 2^20 are inside float32 (and bfloat16, which has its range).
struct Exponents {
  static constexpr int kTerms = 6;

  Exponents(float scale, float softcap) : factor(scale * kLog2E) {
    if (softcap <= 0) return;
    // tanh(y) / y as a polynomial in y², the best of its degree in relative error for |y| <= 1: 6e-7, and
    // 7e-7 with float32's roundings; so a logit below a cap of 50 is off by less than 3e-5.
    constexpr float kTanh[kTerms] = {0.999999404f,   -0.333290428f, 0.132814333f,
                                     -0.0516056754f, 0.0167431142f, -0.00306706037f};
    inner = scale / softcap;
    cap_log2 = softcap * kLog2E;
    for (int i = 0; i < kTerms; ++i) odd[i] = cap_log2 * kTanh[i];
  }

  float factor;
  float inner = 0;     // scale / cap
  float cap_log2 = 0;  // cap · log2(e)
  float odd[kTerms] = {};
};

/// cap_log2 · tanh(y) for |y| <= 1.
__device__ __forceinline__ float tanh_near(float y, const Exponents& e) {
  const float square = y * y;
  float sum = e.odd[Exponents::kTerms - 1];
  LAPIDARY_UNROLL
  for (int i = Exponents::kTerms - 2; i >= 0; --i) sum = fmaf(sum, square, e.odd[i]);
  return y * sum;
}

/// cap_log2 · tanh(y) as 1 - 2 / (e^2|y| + 1), which does not cancel for |y| > 1.
__device__ __forceinline__ float tanh_far(float y, const Exponents& e) {
  const float power = ptx::exp2_fast(2 * kLog2E * fabsf(y));
  return copysignf(e.cap_log2 * (1 - __fdividef(2.0f, power + 1)), y);
}

/// Caps a warp's scores on the pipe of multiplications and additions. Only where a score of the warp is
/// beyond the cap are far ones done by tanh_far; the others get the same bits on both ways.
template <int kTiles>
__device__ __forceinline__ void cap_scores(float (&s)[kTiles][4], const Exponents& e) {
  float largest = 0;
  LAPIDARY_UNROLL
  for (int i = 0; i < 4 * kTiles; ++i) {
    float& x = s[i / 4][i % 4];
    x *= e.inner;
    largest = fmaxf(largest, fabsf(x));
  }
  if (__any_sync(kAllLanes, largest > 1)) {
    LAPIDARY_UNROLL
    for (int i = 0; i < 4 * kTiles; ++i) {
      float& x = s[i / 4][i % 4];
      x = fabsf(x) > 1 ? tanh_far(x, e) : tanh_near(x, e);
    }
  } else {
    LAPIDARY_UNROLL
    for (int i = 0; i < 4 * kTiles; ++i) s[i / 4][i % 4] = tanh_near(s[i / 4][i % 4], e);
  }
}

/// Over the four lanes that hold a row of an accumulator.
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

/// Key indices [begin, end) of the sequence that a row sees.
struct Seen {
  int begin, end;
};

/// -inf for the keys of an accumulator's row that it does not see. half: 0 for row lane / 4, 1 for the row 8
/// below; first_key: of the accumulator's column 0.
template <int kTiles>
__device__ __forceinline__ void hide_unseen(float (&s)[kTiles][4], int half, Seen seen, int first_key) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  LAPIDARY_UNROLL
  for (int i = 0; i < 2 * kTiles; ++i) {
    const int key = first_key + 8 * (i / 2) + lane % 4 * 2 + i % 2;
    float& x = s[i / 2][2 * half + i % 2];
    x = key >= seen.begin && key < seen.end ? x : -INFINITY;
  }
}

template <int kTiles>
__device__ __forceinline__ float largest_of_row(const float (&s)[kTiles][4], int half) {
  float largest = s[0][2 * half];
  LAPIDARY_UNROLL
  for (int i = 1; i < 2 * kTiles; ++i) largest = fmaxf(largest, s[i / 2][2 * half + i % 2]);
  return largest;
}

/// Scores of a row become weights. Returns their sum over this lane's columns, before they are rounded for
/// the product with the values: the roundings (2^-9 of each, to either side) are not worth two instructions
/// more for each weight. offset: of the exponent, where no cap bounds it.
template <bool kCapped, int kTiles>
__device__ __forceinline__ float weigh_row(float (&s)[kTiles][4], int half, float factor, float offset) {
  float sum = 0;
  LAPIDARY_UNROLL
  for (int i = 0; i < 2 * kTiles; ++i) {
    float& x = s[i / 2][2 * half + i % 2];
    x = ptx::exp2_fast(kCapped ? x : fmaf(x, factor, -offset));
    sum += x;
  }
  return sum;
}

}  // namespace lapidary::cuda
