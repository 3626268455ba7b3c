#pragma once

#include <cuda_platform.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/attention/attention_call.h"
#include "kernels/cuda/attention/attention_tiles.cuh"
#include "kernels/cuda/attention/softmax_weights.cuh"

// What the kernels of a prefill share: the tile of pairs (row, head) that is a block's, the softmax of scores
// that come page by page, and how results are written. A shape P has kColumns, kWarps, kThreads, kWarpRows
// and kRows; kBlocks of a multiprocessor; kLoops says whether a block takes one tile after the other where
// prefills should leave a part of the device to others: some shapes leave no register for that.

namespace lapidary::cuda {

/// Keys that some pair of [first, end) sees, and those that all of them see: both ends grow with the row.
struct Visible {
  Seen any, all;

  Visible() = default;
  __device__ Visible(const AttentionCall& call, const Pairs& pairs, int first, int end) {
    const KeyRange a = call.keys_of(pairs.span, pairs.row(first));
    const KeyRange b = call.keys_of(pairs.span, pairs.row(end - 1));
    any = {static_cast<int>(a.begin), static_cast<int>(b.end)};
    all = {static_cast<int>(b.begin), static_cast<int>(a.end)};
  }

  /// Of the page whose first key this is: some pair sees a key; all pairs see all keys.
  __device__ bool touches(int first_key) const {
    return first_key < any.end && first_key + kPageKeys > any.begin;
  }
  __device__ bool covers(int first_key) const {
    return all.begin <= first_key && first_key + kPageKeys <= all.end;
  }
};

/// A block's tile, in shared memory: what all threads know lies here, as registers are what these kernels are
/// short of.
template <class P>
struct PrefillTile {
  Seen seen[P::kRows];
  Visible visible[P::kWarps];  // no key for a warp without pairs
  Pairs pairs;
  int kv_head, first_page, pages;
  int index;  // of all tiles of all KV heads
};

/// Finds a tile, one of all tiles of all spans of several rows. False where there is none.
template <class P>
__device__ __forceinline__ bool find_tile(Pairs& pairs, const AttentionCall& call, int tile, int kv_head) {
  const int spans = call.table.counts->prefills;
  for (int i = 0; i < spans; ++i) {
    const PrefillSpan span = call.table.prefills[i];
    const int tiles = (span.rows * call.max_heads() + P::kRows - 1) / P::kRows;
    if (tile >= tiles) {
      tile -= tiles;
      continue;
    }
    pairs.span = call.table.spans[span.span];
    pairs.heads = call.heads_of(kv_head);
    pairs.first = tile * P::kRows;
    pairs.end = min(pairs.first + P::kRows, span.rows * pairs.heads.count);
    return pairs.first < pairs.end;
  }
  return false;
}

/// Fills what the threads know together of tile `index` of `tiles`, those of the next KV head behind those of
/// the one before. False for all of them where there is nothing to do.
template <class P>
__device__ __forceinline__ bool begin_tile(PrefillTile<P>& tile, const AttentionCall& call, int index,
                                           int tiles) {
  const int kv_head = call.first_kv_head() + index / tiles;
  Pairs pairs;
  if (!find_tile<P>(pairs, call, index % tiles, kv_head)) return false;
  const int thread = static_cast<int>(threadIdx.x);
  for (int row = thread; row < P::kRows; row += P::kThreads) {
    const bool there = pairs.first + row < pairs.end;
    const KeyRange keys = call.keys_of(pairs.span, pairs.row(there ? pairs.first + row : pairs.first));
    tile.seen[row] = {static_cast<int>(keys.begin), static_cast<int>(there ? keys.end : keys.begin)};
  }
  if (thread < P::kWarps) {
    const int first = pairs.first + thread * P::kWarpRows;
    tile.visible[thread] = {};
    if (first < pairs.end)
      tile.visible[thread] = Visible(call, pairs, first, min(first + P::kWarpRows, pairs.end));
  }
  if (thread == 0) {
    const Seen any = Visible(call, pairs, pairs.first, pairs.end).any;
    tile.pairs = pairs;
    tile.kv_head = kv_head;
    tile.first_page = any.begin / kPageKeys;
    tile.pages = (any.end + kPageKeys - 1) / kPageKeys - tile.first_page;
  }
  __syncthreads();
  return true;
}

/// Calls take(index) for the block's tiles: blockIdx.x, blockIdx.x + gridDim.x, … below `all`; or for the
/// first of them alone, where the shape does not loop.
template <class P, class Take>
__device__ __forceinline__ void for_tiles(PrefillTile<P>& tile, int all, const Take& take) {
  int index = static_cast<int>(blockIdx.x);
  if constexpr (!P::kLoops) {
    take(index);
  } else {
#pragma unroll 1
    while (index < all) {
      if (threadIdx.x == 0) tile.index = index;
      take(index);
      __syncthreads();  // nobody needs the tile any more
      index = tile.index + static_cast<int>(gridDim.x);
      __syncthreads();
    }
  }
}

/// What a lane knows of its two rows of an accumulator, lane / 4 and lane / 4 + 8, from page to page.
struct RowSums {
  float row_max[2] = {-INFINITY, -INFINITY};  // largest score so far; unused with a soft-cap
  float sum[2] = {};
};

/// A page's scores of 16 rows become weights. shrink: what the weighted values so far are to be multiplied
/// with, where a largest score grew; nothing where a cap bounds the scores.
template <bool kCapped>
__device__ __forceinline__ void weigh(float (&s)[kPageKeys / 8][4], RowSums& rows, float (&shrink)[2],
                                      const Exponents& exponents) {
  float offset[2] = {};
  LAPIDARY_UNROLL
  for (int half = 0; half < 2 && !kCapped; ++half) {
    float& row_max = rows.row_max[half];
    const float now = fmaxf(row_max, quad_max(largest_of_row(s, half)));
    // Nothing seen yet: any finite number keeps -inf - -inf away.
    offset[half] = now > -INFINITY ? now * exponents.factor : 0.0f;
    shrink[half] = now > row_max ? ptx::exp2_fast((row_max - now) * exponents.factor) : 1.0f;
    rows.sum[half] *= shrink[half];
    row_max = now;
  }
  LAPIDARY_UNROLL
  for (int half = 0; half < 2; ++half)
    rows.sum[half] += weigh_row<kCapped>(s, half, exponents.factor, offset[half]);
}

template <int kTiles>
__device__ __forceinline__ void shrink_rows(float (&out)[kTiles][4], const float (&shrink)[2]) {
  if (!__any_sync(kAllLanes, shrink[0] != 1 || shrink[1] != 1)) return;
  LAPIDARY_UNROLL
  for (int i = 0; i < 4 * kTiles; ++i) out[i / 4][i % 4] *= shrink[i % 4 / 2];
}

/// Writes the weighted values of 16 pairs, an accumulator, divided by the sums of their weights.
template <int kTiles, class StoreTwo>
__device__ __forceinline__ void store_rows(const AttentionCall& call, const Pairs& pairs, int first_pair,
                                           const float (&out)[kTiles][4], const RowSums& rows,
                                           StoreTwo store_two) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  LAPIDARY_UNROLL
  for (int half = 0; half < 2; ++half) {
    const float scale = 1 / quad_sum(rows.sum[half]);
    const int pair = first_pair + 8 * half + lane / 4;
    if (pair >= pairs.end) continue;
    const int64_t head = pairs.at(call.out, pair);
    LAPIDARY_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      const float* x = out[n] + 2 * half;
      store_two(call.out, head, 8 * n + lane % 4 * 2, x[0] * scale, x[1] * scale);
    }
  }
}

/// Calls store(way) with the way that writes `out`.
template <class Store>
__device__ __forceinline__ void with_store(const HeadRows& out, const Store& store) {
  if (!out.aligned)
    store(StoreAny{});
  else if (out.bf16)
    store(StoreNarrow{});
  else
    store(StoreWide{});
}

/// Starts a kernel whose blocks take tiles by for_tiles(); P::kBlocks fill a multiprocessor.
template <class P, class Kernel>
void launch_tiles(Stream stream, const AttentionCall& call, const StepTable& table, size_t shared_bytes,
                  Kernel* kernel) {
  int64_t tiles = 0;
  for (const PrefillSpan& span : table.prefills())
    tiles += (static_cast<int64_t>(span.rows) * call.max_heads() + P::kRows - 1) / P::kRows;
  if (tiles == 0) return;
  int64_t blocks = tiles * call.kv_heads();
  if (P::kLoops && call.multiprocessors > 0)
    blocks = std::min<int64_t>(blocks, int64_t{call.multiprocessors} * P::kBlocks);
  launch(stream, dim3(static_cast<unsigned>(blocks)), P::kThreads, shared_bytes, kernel, call,
         Exponents(call.scale, call.softcap), static_cast<int>(tiles));
}

}  // namespace lapidary::cuda
