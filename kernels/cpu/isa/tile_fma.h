#pragma once

#include <cstdint>

#include "kernels/cpu/isa/tile_dispatch.h"

namespace lapidary::cpu {
namespace {  // internal linkage: see vec_avx512.h

/// Bytes of a panel that a tile asks for ahead of its use: of a short block the whole next one, since other
/// rows meet this block before it is needed; else what is on its way from memory at a time.
template <class Element>
int64_t prefetch_ahead(int64_t k) {
  constexpr int64_t kShort = 128, kOnItsWay = 1024;
  return k <= kShort ? k * 16 * static_cast<int64_t>(sizeof(Element)) : kOnItsWay;
}

// kStream: the panels come from memory. Else they are near, and the rows of the next tile, which follow in
// memory, are asked for: each step for its share.

/// c += a · b by multiply-adds of float32, over the vector type V.
template <class V, bool kStream>
struct FmaBlockF32 {
  using A = float;
  using B = float;

  template <int kRows, int kPanels>
  static void run(const TileArgs& t) {
    const float* a = static_cast<const float*>(t.a);
    const float* b = static_cast<const float*>(t.b);
    const int64_t ahead = prefetch_ahead<B>(t.k);
    V sum[kRows][kPanels];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p)
        sum[r][p] = t.accumulate ? V::load(t.c + r * t.c_stride + p * 16) : V::zero();
    for (int64_t k = 0; k < t.k; ++k) {
      if (!kStream && kRows > 1) __builtin_prefetch(a + (kRows + (k & 7)) * t.a_stride + k);
      V w[kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        const float* at = b + p * t.panel_stride + k * 16;
        if (kStream || kRows == 1) __builtin_prefetch(reinterpret_cast<const char*>(at) + ahead);
        w[p] = V::load(at);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const V x = V::set1(a[r * t.a_stride + k]);
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; ++p) sum[r][p] = fma(x, w[p], sum[r][p]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) sum[r][p].store(t.c + r * t.c_stride + p * 16);
  }
};

/// The same with bf16 panels, widened where they are used, and a f32 holding rounded values.
template <class V, bool kStream>
struct FmaBlockBf16 {
  using A = float;
  using B = uint16_t;

  template <int kRows, int kPanels>
  static void run(const TileArgs& t) {
    const float* a = static_cast<const float*>(t.a);
    const uint16_t* b = static_cast<const uint16_t*>(t.b);
    const int64_t ahead = prefetch_ahead<B>(t.k);
    V sum[kRows][kPanels];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p)
        sum[r][p] = t.accumulate ? V::load(t.c + r * t.c_stride + p * 16) : V::zero();
    for (int64_t k = 0; k < t.k; k += 2) {
      if (!kStream && kRows > 1) __builtin_prefetch(a + (kRows + (k / 2 & 7)) * t.a_stride + k);
      V w[kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        const uint16_t* at = b + p * t.panel_stride + k * 16;
        if (kStream || kRows == 1) __builtin_prefetch(reinterpret_cast<const char*>(at) + ahead);
        w[p] = V::load_even(at);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const V x = V::set1(a[r * t.a_stride + k]);
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; ++p) sum[r][p] = fma(x, w[p], sum[r][p]);
      }
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) w[p] = V::load_odd(b + p * t.panel_stride + k * 16);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const V x = V::set1(a[r * t.a_stride + k + 1]);
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; ++p) sum[r][p] = fma(x, w[p], sum[r][p]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) sum[r][p].store(t.c + r * t.c_stride + p * 16);
  }
};

}  // namespace
}  // namespace lapidary::cpu
