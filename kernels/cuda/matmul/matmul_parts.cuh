#pragma once

#include <cuda_platform.h>

#include "kernels/cuda/matmul/matmul_kernels.h"
#include "kernels/cuda/rows/gelu.cuh"
#include "kernels/cuda/rows/row_ops.h"

// What the product kernels share. The weight is operand a of mma.m16n8k16 (16 channels), x operand b (8
// rows). A lane reads 16 bytes of a row at a time, so the four lanes of a row hold a block of columns; which
// of them meet in one mma is the same permutation for both operands, and the same in each kernel.

namespace lapidary::cuda {

/// bf16: lane t of a row holds columns 8t … 8t + 7 of a block of 32.
struct Bf16Weight {
  using Element = uint16_t;
  static constexpr int kBlock = 32;  // columns of a block
  static constexpr int kParts = 1;   // runs of 8 columns that a lane holds
  static __device__ __forceinline__ uint4 part(const uint4& bytes, int) { return bytes; }
};

/// e4m3: lane t of a row holds columns 16t … 16t + 15 of a block of 64, in two parts.
struct E4m3Weight {
  using Element = uint8_t;
  static constexpr int kBlock = 64;
  static constexpr int kParts = 2;

  /// Numbers 0 and 1, or 2 and 3, of four, as bf16, exactly: exponent and mantissa are moved to bf16's, whose
  /// bias is larger by 120.
  static __device__ __forceinline__ uint32_t widen(uint32_t two) {
    const uint32_t apart = (two & 0xffu) << 8 | (two & 0xff00u) << 16;
    const uint32_t pair = (apart & 0x80008000u) | (apart & 0x7f007f00u) >> 4;
    return ptx::multiply_bf16(pair, 0x7b807b80u);  // 2^120
  }
  static __device__ __forceinline__ uint4 part(const uint4& bytes, int which) {
    const uint32_t low = which == 0 ? bytes.x : bytes.z, high = which == 0 ? bytes.y : bytes.w;
    return make_uint4(widen(low), widen(low >> 16), widen(high), widen(high >> 16));
  }
};

/// sums [16 channels, 8 rows] += w · x over the 32 columns that four lanes' parts hold: `low` of channel
/// lane / 4, `high` of channel lane / 4 + 8, `x` of row lane / 4.
__device__ __forceinline__ void multiply_part(float (&sums)[4], const uint4& low, const uint4& high,
                                              const uint4& x) {
  ptx::mma_bf16(sums, {low.x, high.x, low.y, high.y}, {x.x, x.y});
  ptx::mma_bf16(sums, {low.z, high.z, low.w, high.w}, {x.z, x.w});
}

/// What a channel's sum is multiplied by, and what is added then.
struct Ending {
  float scale = 1, bias = 0;
};

/// Channels behind the last have the last's.
__device__ __forceinline__ Ending ending_of(const ProductArgs& p, int64_t channel) {
  const int64_t at = channel < p.out ? channel : p.out - 1;
  return {p.scales != nullptr ? p.scales[at] : 1, p.end.bias != nullptr ? p.end.bias[at] : 0};
}

__device__ __forceinline__ void write(const ProductArgs& p, int64_t at, float value) {
  if (p.y_dtype == DType::f32) {
    static_cast<float*>(p.y)[at] = value;
  } else {
    static_cast<uint16_t*>(p.y)[at] = to_bf16(value);
  }
}

/// Writes element (row, channel) of an output from its sum.
__device__ __forceinline__ void finish(const ProductArgs& p, int output, int64_t row, int64_t channel,
                                       float sum, const Ending& ending) {
  float value = fmaf(sum, ending.scale, ending.bias);
  const int64_t at = output * p.y_output + row * p.y_stride + channel;
  if (p.end.gelu) value = gelu_tanh(value);
  if (p.end.add) value = static_cast<const float*>(p.y)[at] + value;
  write(p, at, value);
}

/// Writes an element of a gated product from the sums of gate's `channel` and of up's, a run further on.
__device__ __forceinline__ void finish_gated(const ProductArgs& p, int64_t row, int64_t channel, float gate,
                                             float up, float gate_scale, float up_scale) {
  const int64_t column = channel / (2 * kGateRun) * kGateRun + channel % kGateRun;
  if (column < p.columns) write(p, row * p.y_stride + column, gelu_tanh(gate * gate_scale) * (up * up_scale));
}

/// A unit's sum of one element goes to where it is added to other units', or to y.
__device__ __forceinline__ void put_sum(const ProductArgs& p, int unit, int64_t row, int64_t channel,
                                        float sum, const Ending& ending) {
  if (row >= p.rows || channel >= p.out) return;
  if (p.partials == nullptr) {
    finish(p, 0, row, channel, sum, ending);
  } else {
    p.partials[(unit * p.rows + row) * p.partial_pitch + channel] = sum;
  }
}

/// The same for a warp's fragments [sets of 16 channels][kTiles of 8 rows], the first at (row, channel).
template <int kTiles, int kSums>
__device__ __forceinline__ void put_sums(const ProductArgs& p, int unit, int64_t row, int64_t channel,
                                         const float (&sums)[kSums][4]) {
  constexpr int kHalves = kSums / kTiles * 2;  // runs of 8 channels
  const int lane = static_cast<int>(threadIdx.x) % 32;
  row += lane % 4 * 2;
  channel += lane / 4;
  Ending endings[kHalves];  // all are read before the first is used
  if (p.partials == nullptr) {
#pragma unroll
    for (int h = 0; h < kHalves; ++h) endings[h] = ending_of(p, channel + 8 * h);
  }
  if (p.gated && p.partials == nullptr) {  // a lane has both halves of an element
    static_assert(kGateRun == 8);
#pragma unroll
    for (int f = 0; f < kSums; ++f) {
      const int run = f / kTiles * 2;
      const int64_t first = row + f % kTiles * 8;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (first + i < p.rows)
          finish_gated(p, first + i, channel + 8 * run, sums[f][i], sums[f][i + 2], endings[run].scale,
                       endings[run + 1].scale);
      }
    }
    return;
  }
#pragma unroll
  for (int f = 0; f < kSums; ++f) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int half = f / kTiles * 2 + i / 2;
      put_sum(p, unit, row + f % kTiles * 8 + i % 2, channel + 8 * half, sums[f][i], endings[half]);
    }
  }
}

/// Adds the units' sums of one element, `level` floats apart; returns how many outputs are left in the first
/// slots.
__device__ inline int merge_element(const SumUnits& units, float* stack, int level) {
  int top = 0;
  for (int u = 0; u < units.count; ++u, ++top) {
    float sum = stack[u * level];  // the stack, all of which has been read, never is higher than this
    for (int m = units.merges[u]; m > 0; --m) sum = stack[--top * level] + sum;
    stack[top * level] = sum;
  }
  return top;
}

/// Adds the units' sums of rows [row, row + rows) and channels [channel, channel + channels) as `units` says
/// and writes y. All threads of the block take part. `sums` is shared memory for units · rows · channels
/// floats; channels is a multiple of 4.
__device__ inline void merge_tile(const ProductArgs& p, const SumUnits& units, float* sums, int64_t row,
                                  int rows, int64_t channel, int channels) {
  const int quads = rows * (channels / 4), threads = static_cast<int>(blockDim.x);
  const int thread = static_cast<int>(threadIdx.x);
  // Past the first cache, where another block's sums would not show.
  for (int i = thread; i < units.count * quads; i += threads) {
    const int64_t r = row + i % quads / (channels / 4), c = channel + i % (channels / 4) * 4;
    const float* from = p.partials + (i / quads * p.rows + r) * p.partial_pitch + c;
    ptx::copy_async(sums + 4 * i, from, c < p.partial_pitch);
  }
  ptx::commit_copies();
  ptx::wait_copies<0>();
  __syncthreads();
  const int level = rows * channels;
  for (int e = thread; e < level; e += threads) {
    const int64_t r = row + e / channels, c = channel + e % channels;
    if (c >= p.out || (p.gated && c % (2 * kGateRun) >= kGateRun)) continue;
    float* stack = sums + e;
    const int top = merge_element(units, stack, level);
    if (p.gated) {
      merge_element(units, stack + kGateRun, level);
      finish_gated(p, r, c, stack[0], stack[kGateRun], ending_of(p, c).scale,
                   ending_of(p, c + kGateRun).scale);
      continue;
    }
    const Ending ending = ending_of(p, c);
    for (int o = 0; o < top; ++o) finish(p, o, r, c, stack[o * level], ending);
  }
}

}  // namespace lapidary::cuda
