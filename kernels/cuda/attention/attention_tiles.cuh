#pragma once

#include <cuda_platform.h>

#include <cstdint>

#include "kernels/cuda/attention/attention_call.h"
#include "kernels/cuda/attention/head_rows.cuh"

// Tiles of queries, keys and values in shared memory, and the fragments of the matrix products made of them.

namespace lapidary::cuda {

inline constexpr int kPageKeys = static_cast<int>(KvShape::kPageTokens);

/// A head of up to kColumns_ elements, a multiple of 8; the inner dimension of the scores is padded with
/// zeros to a multiple of 16. Rows of a tile lie an odd number of 16-byte words apart, so that eight rows'
/// words of one column lie in all banks and load_matrices reads them at once, with plain offsets.
template <int kColumns_>
struct HeadShape {
  static constexpr int kColumns = kColumns_;
  static constexpr int kInner = (kColumns + 15) / 16 * 16;
  static constexpr int kStride = kInner + 8;
  static constexpr int kTileElements = kPageKeys * kStride;  // keys or values of a page
};

/// Starts the copy of the keys or values [kPageKeys, row] of one page and head. Tokens behind the first
/// `tokens` become zeros: what lies there was never written.
template <class Shape, int kThreads>
__device__ __forceinline__ void copy_tile(uint16_t* tile, const std::byte* from, int row, int tokens) {
  constexpr int kWords = Shape::kInner / 8, kAtOnce = kThreads / kWords;  // kAtOnce: tokens
  const int first = static_cast<int>(threadIdx.x) / kWords,
            column = static_cast<int>(threadIdx.x) % kWords * 8;
  if (first >= kAtOnce) return;
  const auto* source = reinterpret_cast<const uint16_t*>(from);
  const int end = column < row ? tokens : 0;
  int at = first * row + column;
  uint16_t* to = tile + first * Shape::kStride + column;
  for (int token = first; token < kPageKeys; token += kAtOnce) {
    const bool valid = token < end;
    ptx::copy_async(to, source + (valid ? at : 0), valid);
    at += kAtOnce * row;
    to += kAtOnce * Shape::kStride;
  }
}

/// A pair is a row of a span and one of the heads that read a KV head; a row's heads lie side by side.
struct Pairs {
  StepSpan span;
  HeadRange heads;
  int first, end;  // of the block's pairs

  __device__ int row(int pair) const { return pair / heads.count; }
  __device__ int64_t at(const HeadRows& x, int pair) const {
    return x.at(span.first_row + row(pair), heads.first + pair % heads.count);
  }
};

/// The block's queries as rows of a tile [kRows, kInner], rounded to bfloat16; zeros behind the last.
template <class Shape, int kRows, int kThreads>
__device__ __forceinline__ void load_queries(uint16_t* tile, const HeadRows& q, const Pairs& pairs) {
  constexpr int kWords = Shape::kInner / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kWords; i += kThreads) {
    const int row = i / kWords, column = i % kWords * 8, pair = pairs.first + row;
    float x[8] = {};
    if (pair < pairs.end && column < q.head_dim) load_eight(x, q, pairs.at(q, pair), column);
    *reinterpret_cast<uint4*>(tile + row * Shape::kStride + column) = round_eight(x);
  }
}

/// Rows [0, 16) and columns [column, column + 16) of a tile as the left operand.
template <class Shape>
__device__ __forceinline__ void load_left(uint32_t (&a)[4], const uint16_t* tile, int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  ptx::load_matrices(a, tile + lane % 16 * Shape::kStride + column + lane / 16 * 8);
}

/// Keys [16, 16 columns from `column`], transposed, as the right operand of queries · keysᵀ.
template <class Shape>
struct KeyFragment {
  uint32_t low[2], high[2];  // keys 0…7 and 8…15

  __device__ __forceinline__ KeyFragment(const uint16_t* keys, int column) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    uint32_t b[4];
    ptx::load_matrices(b, keys + (lane / 16 * 8 + lane % 8) * Shape::kStride + column + lane / 8 % 2 * 8);
    low[0] = b[0], low[1] = b[1], high[0] = b[2], high[1] = b[3];
  }
};

/// Values [16 keys, 16 columns from `column`] as the right operand of weights · values.
template <class Shape>
struct ValueFragment {
  uint32_t low[2], high[2];  // columns 0…7 and 8…15

  __device__ __forceinline__ ValueFragment(const uint16_t* values, int column) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    uint32_t b[4];
    ptx::load_matrices_transposed(b, values + lane % 16 * Shape::kStride + column + lane / 16 * 8);
    low[0] = b[0], low[1] = b[1], high[0] = b[2], high[1] = b[3];
  }
};

template <int kTiles>
__device__ __forceinline__ void clear(float (&x)[kTiles][4]) {
  LAPIDARY_UNROLL
  for (int i = 0; i < 4 * kTiles; ++i) x[i / 4][i % 4] = 0;
}

/// The weights of 16 keys, two tiles of an accumulator, as the left operand.
__device__ __forceinline__ void weights_as_left(uint32_t (&a)[4], const float (&first)[4],
                                                const float (&second)[4]) {
  a[0] = ptx::pack_bf16(first[0], first[1]);
  a[1] = ptx::pack_bf16(first[2], first[3]);
  a[2] = ptx::pack_bf16(second[0], second[1]);
  a[3] = ptx::pack_bf16(second[2], second[3]);
}

/// Calls run.template operator()<kColumns>() with the smallest instance that holds heads of this size.
template <class Run>
void with_columns(int head_dim, const Run& run) {
  if (head_dim <= 32) return run.template operator()<32>();
  if (head_dim <= 64) return run.template operator()<64>();
  if (head_dim <= 72) return run.template operator()<72>();
  if (head_dim <= 128) return run.template operator()<128>();
  return run.template operator()<256>();
}

}  // namespace lapidary::cuda
