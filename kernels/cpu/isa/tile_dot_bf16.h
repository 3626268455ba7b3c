#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/isa/tile_fma.h"
#include "kernels/cpu/isa/vec_avx512.h"

namespace lapidary::cpu {
namespace {  // internal linkage: see vec_avx512.h

/// c += a · b, both bf16, by vdpbf16ps: two products a step and lane, added to float32 with the smallest
/// numbers flushed to zero.
template <bool kStream>
struct DotBlockBf16 {
  using A = uint16_t;
  using B = uint16_t;

  static __m512bh pair(const uint16_t* a) {
    int32_t bits;
    std::memcpy(&bits, a, sizeof bits);
    return (__m512bh)_mm512_set1_epi32(bits);
  }

  template <int kRows, int kPanels>
  static void run(const TileArgs& t) {
    const uint16_t* a = static_cast<const uint16_t*>(t.a);
    const uint16_t* b = static_cast<const uint16_t*>(t.b);
    const int64_t ahead = prefetch_ahead<B>(t.k);
    __m512 sum[kRows][kPanels];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p)
        sum[r][p] = t.accumulate ? _mm512_loadu_ps(t.c + r * t.c_stride + p * 16) : _mm512_setzero_ps();
    for (int64_t k = 0; k < t.k; k += 2) {
      if (!kStream && kRows > 1) __builtin_prefetch(a + (kRows + (k / 2 & 7)) * t.a_stride + k);
      __m512bh w[kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        const uint16_t* at = b + p * t.panel_stride + k * 16;
        if (kStream || kRows == 1) __builtin_prefetch(reinterpret_cast<const char*>(at) + ahead);
        w[p] = (__m512bh)_mm512_load_si512(at);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512bh x = pair(a + r * t.a_stride + k);
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; ++p) sum[r][p] = _mm512_dpbf16_ps(sum[r][p], x, w[p]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) _mm512_storeu_ps(t.c + r * t.c_stride + p * 16, sum[r][p]);
  }
};

/// Isa::to_operand by the machine's own conversion. Unlike VecAvx512::store_bf16 it turns numbers below the
/// normal range to zero, which the products count as zero anyway.
inline void to_dot_operand(void* dst, const float* src, int64_t n) {
  uint16_t* out = static_cast<uint16_t*>(dst);
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m512bh pairs = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(src + i + 16), _mm512_loadu_ps(src + i));
    _mm512_storeu_si512(out + i, (__m512i)pairs);
  }
  for (; i < n; i += 16) {
    const __mmask16 lanes = VecAvx512::first(n - i < 16 ? static_cast<int>(n - i) : 16);
    const __m256bh half = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, src + i));
    _mm256_mask_storeu_epi16(out + i, lanes, (__m256i)half);
  }
}

/// Isa::burn_bf16: sixteen chains of vdpbf16ps.
inline int64_t burn_dot_bf16(int64_t rounds) {
  constexpr int kSums = 16;
  __m512 sum[kSums];
  for (int i = 0; i < kSums; ++i) sum[i] = _mm512_set1_ps(static_cast<float>(i));
  volatile int32_t pair = 0x3f803f80;  // one and one
  const __m512bh a = (__m512bh)_mm512_set1_epi32(pair);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kSums; ++j) sum[j] = _mm512_dpbf16_ps(sum[j], a, a);
  }
  __m512 all = _mm512_setzero_ps();
  for (int i = 0; i < kSums; ++i) all = _mm512_add_ps(all, sum[i]);
  volatile float sink = _mm512_reduce_add_ps(all);
  static_cast<void>(sink);
  return rounds * kSums * 64;
}

}  // namespace
}  // namespace lapidary::cpu
