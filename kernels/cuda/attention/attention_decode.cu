#include <cuda_platform.h>

#include <cstdint>
#include <stdexcept>

#include "kernels/cuda/attention/attention_call.h"
#include "kernels/cuda/attention/attention_tiles.cuh"
#include "kernels/cuda/attention/softmax_weights.cuh"

// Attention of one row a sequence. The time is that of reading the keys and values: a sequence's pages are
// shared out over blocks; all query heads of a KV head are rows of the same products, so that nothing is read
// twice. The block that ends last adds what they all found, in the order of the pages: which one that is
// changes no bit.

namespace lapidary::cuda {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps, kRows = 16;
constexpr int kWarpKeys = kPageKeys / kWarps;  // scores: a warp has 16 of the page's keys
constexpr int64_t kMaxBlocks = 4096;           // of a grid; each then takes several units

/// Where a unit, a split of one KV head, leaves its sums; see AttentionScratch.
struct Partials {
  float2* states;  // [splits, heads]: largest exponent, sum of the weights
  float* sums;     // [splits, heads, columns]
  uint32_t*
      tickets;  // [splits, heads]: units that have ended, at a decode's first split and a unit's first head
  int heads, columns;

  __device__ int64_t at(int split, int head) const { return static_cast<int64_t>(split) * heads + head; }
};

template <class Shape>
struct DecodeBlock {
  static constexpr int kWeightStride = kPageKeys + 8;
  alignas(16) uint16_t keys[Shape::kTileElements];
  alignas(16) uint16_t values[Shape::kTileElements];
  alignas(16) uint16_t queries[kRows * Shape::kStride];
  alignas(16) uint16_t weights[kRows * kWeightStride];
  float row_max[kWarps][kRows];  // of each warp's keys
  float sums[kWarps][kRows];
  bool last;  // whether the decode's other units have ended
};

/// What combine() needs, in the place of the keys and values.
template <class Shape>
struct CombineScratch {
  float shares[kRows][StepTable::kMaxSplits];  // of each head's splits: factor of a split's sums,
  float counts[kRows][StepTable::kMaxSplits];  // and the sum of its weights
  float total[kRows];                          // sum of the head's weights
  alignas(16) float parts[kWarps][(Shape::kColumns + 3) / 4 * 4];  // a head's sums over each warp's splits
};

/// The pages [first, end) of a unit that its row sees something of.
struct Unit {
  DecodeSpan decode;
  Pairs pairs;  // one row's heads
  Seen seen;
  int split, kv_head, first, end;

  __device__ Unit(const AttentionCall& call, int index) {
    split = index / call.kv_heads();
    kv_head = call.first_kv_head() + index % call.kv_heads();
    const DecodeSplit part = call.table.splits[split];
    decode = call.table.decodes[part.decode];
    pairs = {call.table.spans[decode.span], call.heads_of(kv_head), 0, 0};
    pairs.end = pairs.heads.count;
    const KeyRange keys = call.keys_of(pairs.span, 0);
    seen = {static_cast<int>(keys.begin), static_cast<int>(keys.end)};
    first = max(part.first_page, seen.begin / kPageKeys);
    end = min(part.first_page + part.pages, (seen.end + kPageKeys - 1) / kPageKeys);
  }
};

/// Sums of a warp's share of the columns: pairs of column tiles warp, warp + kWarps, …
template <class Shape>
struct ColumnSums {
  static constexpr int kTilePairs = (Shape::kColumns + 8) / 16;
  static constexpr int kMine = (kTilePairs + kWarps - 1) / kWarps;
  float out[kMine][2][4] = {};
  float row_max[2] = {-INFINITY, -INFINITY};  // of rows lane / 4 and lane / 4 + 8; unused with a soft-cap
  float sum[2] = {};                          // of this lane's weights
};

/// Asks for a page's keys and values to be brought to the second cache, if it is one of the unit's. The tiles
/// of a block hold one page; where few blocks share out a sequence, that is too little to have under way: a
/// rank with 2 KV heads of 128 has 66 blocks of two pages for 4112 tokens, and of their 4.2 MB 2.1 would be.
__device__ __forceinline__ void ask_for(const AttentionCall& call, const Unit& unit, int page) {
  constexpr int kLine = 128;
  if (page >= unit.end) return;
  const std::byte* keys = call.keys(unit.pairs.span, page, unit.kv_head);
  const int tokens = min(unit.pairs.span.tokens - page * kPageKeys, kPageKeys);
  const int bytes = tokens * call.layout.row * static_cast<int>(sizeof(uint16_t));
  for (int at = static_cast<int>(threadIdx.x) * kLine; at < bytes; at += kThreads * kLine) {
    ptx::prefetch(keys + at);
    ptx::prefetch(keys + call.layout.tile_bytes + at);
  }
}

/// Starts the copy of a page's keys (part 0) or values (1) and closes its group; without a page it is empty.
template <class Shape>
__device__ __forceinline__ void fetch(uint16_t* tile, const AttentionCall& call, const Unit& unit, int page,
                                      int part) {
  if (page < unit.end)
    copy_tile<Shape, kThreads>(tile,
                               call.keys(unit.pairs.span, page, unit.kv_head) + part * call.layout.tile_bytes,
                               call.layout.row, unit.pairs.span.tokens - page * kPageKeys);
  ptx::commit_copies();
}

/// s [16 heads, 16 keys] of this warp, capped; -inf for unseen keys.
template <class Shape, bool kCapped>
__device__ __forceinline__ void score_keys(float (&s)[2][4], DecodeBlock<Shape>& block, const Unit& unit,
                                           int first_key, const Exponents& exponents) {
  const int warp_key = static_cast<int>(threadIdx.x) / 32 * kWarpKeys;
  clear(s);
  LAPIDARY_UNROLL
  for (int column = 0; column < Shape::kInner; column += 16) {
    uint32_t a[4];
    load_left<Shape>(a, block.queries, column);
    const KeyFragment<Shape> b(block.keys + warp_key * Shape::kStride, column);
    ptx::mma_bf16(s[0], a, b.low);
    ptx::mma_bf16(s[1], a, b.high);
  }
  if constexpr (kCapped) cap_scores(s, exponents);
  for (int half = 0; half < 2; ++half) hide_unseen(s, half, unit.seen, first_key + warp_key);
}

/// Scores become weights, in shared memory; the warp's sums are rescaled where a largest score grew. All
/// warps find the same largest scores. Ends before the barrier behind which the weights may be read.
template <class Shape, bool kCapped>
__device__ __forceinline__ void weigh(float (&s)[2][4], DecodeBlock<Shape>& block, ColumnSums<Shape>& sums,
                                      const Exponents& exponents) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  float offset[2] = {}, shrink[2] = {1, 1};
  if constexpr (!kCapped) {
    for (int half = 0; half < 2; ++half)
      block.row_max[warp][lane / 4 + 8 * half] = quad_max(largest_of_row(s, half));
    __syncthreads();
    for (int half = 0; half < 2; ++half) {
      float now = sums.row_max[half];
      for (int w = 0; w < kWarps; ++w) now = fmaxf(now, block.row_max[w][lane / 4 + 8 * half]);
      // Every page of a unit has a key that its row sees: now is finite.
      offset[half] = now * exponents.factor;
      if (now > sums.row_max[half])
        shrink[half] = ptx::exp2_fast((sums.row_max[half] - now) * exponents.factor);
      sums.row_max[half] = now;
    }
  }
  for (int half = 0; half < 2; ++half) {
    sums.sum[half] =
        fmaf(sums.sum[half], shrink[half], weigh_row<kCapped>(s, half, exponents.factor, offset[half]));
    uint16_t* row = block.weights + (lane / 4 + 8 * half) * DecodeBlock<Shape>::kWeightStride;
    for (int n = 0; n < 2; ++n)
      *reinterpret_cast<uint32_t*>(row + warp * kWarpKeys + 8 * n + lane % 4 * 2) =
          ptx::pack_bf16(s[n][2 * half], s[n][2 * half + 1]);
  }
  LAPIDARY_UNROLL
  for (int m = 0; m < ColumnSums<Shape>::kMine; ++m) {
    LAPIDARY_UNROLL
    for (int i = 0; i < 8; ++i) sums.out[m][i / 4][i % 4] *= shrink[i % 4 / 2];
  }
}

/// sums.out [16, this warp's columns] += weights [16, 64] · values
template <class Shape>
__device__ __forceinline__ void add_values(ColumnSums<Shape>& sums, const DecodeBlock<Shape>& block) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  LAPIDARY_UNROLL
  for (int key = 0; key < kPageKeys; key += 16) {
    uint32_t a[4];
    ptx::load_matrices(a,
                       block.weights + lane % 16 * DecodeBlock<Shape>::kWeightStride + key + lane / 16 * 8);
    LAPIDARY_UNROLL
    for (int m = 0; m < ColumnSums<Shape>::kMine; ++m) {
      const int pair = warp + m * kWarps;
      if (pair >= ColumnSums<Shape>::kTilePairs) break;
      const ValueFragment<Shape> b(block.values + key * Shape::kStride, 16 * pair);
      ptx::mma_bf16(sums.out[m][0], a, b.low);
      ptx::mma_bf16(sums.out[m][1], a, b.high);
    }
  }
}

/// Writes a unit's sums [heads, columns] and states [heads].
template <class Shape, bool kCapped>
__device__ __forceinline__ void store_unit(const Partials& to, const Unit& unit, DecodeBlock<Shape>& block,
                                           const ColumnSums<Shape>& sums, float factor) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  for (int half = 0; half < 2; ++half) block.sums[warp][lane / 4 + 8 * half] = quad_sum(sums.sum[half]);
  __syncthreads();
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    if (row >= unit.pairs.end) continue;
    const int64_t at = to.at(unit.split, unit.pairs.heads.first + row);
    if (warp == 0 && lane % 4 == 0) {
      float sum = 0;
      for (int w = 0; w < kWarps; ++w) sum += block.sums[w][row];
      to.states[at] = make_float2(kCapped ? 0 : sums.row_max[half] * factor, sum);
    }
    LAPIDARY_UNROLL
    for (int m = 0; m < ColumnSums<Shape>::kMine; ++m) {
      LAPIDARY_UNROLL
      for (int n = 0; n < 2; ++n) {
        const int column = 16 * (warp + m * kWarps) + 8 * n + lane % 4 * 2;
        if (column >= to.columns) continue;
        const float* x = sums.out[m][n] + 2 * half;
        *reinterpret_cast<float2*>(to.sums + at * to.columns + column) = make_float2(x[0], x[1]);
      }
    }
  }
}

/// A unit without a key that the row sees adds nothing.
__device__ inline void store_nothing(const Partials& to, const Unit& unit) {
  const int head = static_cast<int>(threadIdx.x);
  if (head < unit.pairs.end)
    to.states[to.at(unit.split, unit.pairs.heads.first + head)] = make_float2(-INFINITY, 0);
}

/// Attends to the pages of a unit.
template <class Shape, bool kCapped>
__device__ __forceinline__ void attend(const AttentionCall& call, const Exponents& exponents,
                                       const Partials& partials, const Unit& unit,
                                       DecodeBlock<Shape>& block) {
  fetch<Shape>(block.keys, call, unit, unit.first, 0);
  fetch<Shape>(block.values, call, unit, unit.first, 1);
  ask_for(call, unit, unit.first + 1);
  load_queries<Shape, kRows, kThreads>(block.queries, call.q, unit.pairs);
  ColumnSums<Shape> sums;
  for (int page = unit.first; page < unit.end; ++page) {
    float s[2][4];
    ptx::wait_copies<1>();
    __syncthreads();  // the keys have come
    score_keys<Shape, kCapped>(s, block, unit, page * kPageKeys, exponents);
    weigh<Shape, kCapped>(s, block, sums, exponents);
    ptx::wait_copies<0>();
    __syncthreads();  // the values have come, and the weights; nobody needs the keys
    fetch<Shape>(block.keys, call, unit, page + 1, 0);
    ask_for(call, unit, page + 2);
    add_values<Shape>(sums, block);
    __syncthreads();
    fetch<Shape>(block.values, call, unit, page + 1, 1);
  }
  store_unit<Shape, kCapped>(partials, unit, block, sums, exponents.factor);
}

/// Whether all units of the decode and KV head have stored their sums, and this one is the last.
template <class Shape>
__device__ __forceinline__ bool ends_last(const Partials& partials, const Unit& unit,
                                          DecodeBlock<Shape>& block) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t* ticket = partials.tickets + partials.at(unit.decode.first_split, unit.pairs.heads.first);
    block.last = atomicAdd(ticket, uint32_t{1}) + 1 == static_cast<uint32_t>(unit.decode.splits);
    if (block.last) *ticket = 0;
  }
  __syncthreads();
  if (!block.last) return false;
  __threadfence();
  return true;
}

/// The shares and totals of all heads of a decode. Each state is read by one thread, so that all reads are
/// under way at once; a warp then sees to a head.
template <class Shape>
__device__ __forceinline__ void share_out(const Partials& partials, const Unit& unit,
                                          CombineScratch<Shape>& scratch) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int heads = unit.pairs.heads.count, splits = unit.decode.splits;
  for (int i = thread; i < heads * splits; i += kThreads) {
    const int head = i % heads, split = i / heads;
    const float2 state =
        partials.states[partials.at(unit.decode.first_split + split, unit.pairs.heads.first + head)];
    scratch.shares[head][split] = state.x;
    scratch.counts[head][split] = state.y;
  }
  __syncthreads();
  for (int head = thread / 32; head < heads; head += kWarps) {
    float top = -INFINITY, sum = 0;
    for (int s = lane; s < splits; s += 32) top = fmaxf(top, scratch.shares[head][s]);
    for (int bits = 16; bits > 0; bits /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, bits));
    for (int s = lane; s < splits; s += 32) {
      const float share = ptx::exp2_fast(scratch.shares[head][s] - top);
      scratch.shares[head][s] = share;
      sum = fmaf(share, scratch.counts[head][s], sum);
    }
    for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, bits);
    if (lane == 0) scratch.total[head] = sum;
  }
  __syncthreads();
}

/// x [4 columns] = sums of splits [first, last) by their shares, split by split. Many are read at once: one
/// read after the other would take longer than the keys and values of a short sequence.
template <class Shape>
__device__ __forceinline__ void add_splits(float (&x)[4], const float* sums, int64_t step, int first,
                                           int last, const float* shares, const float* counts) {
  constexpr int kBatch = 9;  // a warp's splits of 4112 tokens
#pragma unroll 1
  for (; first < last; first += kBatch) {
    float4 read[kBatch];
    const auto has = [&](int i) { return first + i < last && counts[first + i] > 0; };  // else nobody wrote
    LAPIDARY_UNROLL
    for (int i = 0; i < kBatch; ++i)
      read[i] =
          has(i) ? *reinterpret_cast<const float4*>(sums + (first + i) * step) : make_float4(0, 0, 0, 0);
    LAPIDARY_UNROLL
    for (int i = 0; i < kBatch; ++i) {
      if (!has(i)) continue;
      const float share = shares[first + i];
      x[0] = fmaf(share, read[i].x, x[0]);
      x[1] = fmaf(share, read[i].y, x[1]);
      x[2] = fmaf(share, read[i].z, x[2]);
      x[3] = fmaf(share, read[i].w, x[3]);
    }
  }
}

/// out [columns] of a decode's heads = weighted sums of its splits / sum of their weights. Each warp adds its
/// quarter of the splits, then the quarters are added: an order that follows from the splits' number alone.
template <class Shape>
__device__ __forceinline__ void combine(const AttentionCall& call, const Partials& partials, const Unit& unit,
                                        DecodeBlock<Shape>& block) {
  static_assert(sizeof(CombineScratch<Shape>) <= sizeof(block.keys) + sizeof(block.values) &&
                StepTable::kMaxSplits % kWarps == 0);
  auto& scratch = *reinterpret_cast<CombineScratch<Shape>*>(&block);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int splits = unit.decode.splits, end = call.layout.head_dim;
  const int first = splits * warp / kWarps, last = splits * (warp + 1) / kWarps;
  share_out(partials, unit, scratch);
  for (int head = 0; head < unit.pairs.heads.count; ++head) {
    const int global = unit.pairs.heads.first + head;
    const float* sums = partials.sums + partials.at(unit.decode.first_split, global) * partials.columns;
    for (int column = 4 * lane; column < end; column += 4 * 32) {
      float x[4] = {};
      add_splits<Shape>(x, sums + column, int64_t{partials.heads} * partials.columns, first, last,
                        scratch.shares[head], scratch.counts[head]);
      *reinterpret_cast<float4*>(scratch.parts[warp] + column) = make_float4(x[0], x[1], x[2], x[3]);
    }
    __syncthreads();
    const int64_t to = call.out.at(unit.pairs.span.first_row, global);
    for (int column = thread; column < end; column += kThreads) {
      float sum = scratch.parts[0][column];
      for (int w = 1; w < kWarps; ++w) sum += scratch.parts[w][column];
      store_one(call.out, to + column, sum / scratch.total[head]);
    }
    __syncthreads();  // the parts have been read, and behind the last head all of the scratch
  }
}

/// Units blockIdx.x, blockIdx.x + gridDim.x, …: the KV heads of a split lie side by side, as in a page.
template <class Shape, bool kCapped>
__global__ void __launch_bounds__(kThreads, 4)  // the registers of more blocks would not hold the sums
    decode(EarlyStart, const AttentionCall call, const Exponents exponents, const Partials partials) {
  ptx::let_next_start();
  auto& block = *shared_memory<DecodeBlock<Shape>>();
  // The step's table came before its first kernel did, and all keys and values are there but the new token's,
  // which the second cache will see as it comes.
  const int units = call.table.counts->splits * call.kv_heads();
  if (static_cast<int>(blockIdx.x) < units) {
    const Unit unit(call, static_cast<int>(blockIdx.x));
    ask_for(call, unit, unit.first);
  }
  ptx::wait_for_previous();
  for (int u = static_cast<int>(blockIdx.x); u < units; u += static_cast<int>(gridDim.x)) {
    const Unit unit(call, u);
    if (unit.first < unit.end)
      attend<Shape, kCapped>(call, exponents, partials, unit, block);
    else
      store_nothing(partials, unit);
    if (ends_last(partials, unit, block)) combine(call, partials, unit, block);
  }
}

template <class Shape>
void launch_decode(Stream stream, const AttentionCall& call, const Partials& partials, int64_t units) {
  const Exponents exponents(call.scale, call.softcap);
  launch(stream, dim3(static_cast<unsigned>(std::min(units, kMaxBlocks))), kThreads,
         sizeof(DecodeBlock<Shape>), call.softcap > 0 ? decode<Shape, true> : decode<Shape, false>, call,
         exponents, partials);
}

}  // namespace

void attend_decode(Stream stream, const AttentionCall& call, AttentionScratch& scratch,
                   const StepTable& table) {
  const int64_t splits = table.decode_blocks();
  if (splits == 0) return;
  if (!scratch.fits(splits, call.heads, call.layout.head_dim))
    throw std::logic_error("attention: more decodes, heads or tokens than the scratch was made for");
  const Partials partials{reinterpret_cast<float2*>(scratch.states()), scratch.sums(), scratch.tickets(),
                          call.heads, (call.layout.head_dim + 7) / 8 * 8};
  with_columns(call.layout.head_dim, [&]<int kColumns>() {
    launch_decode<HeadShape<kColumns>>(stream, call, partials, splits * call.kv_heads());
  });
}

}  // namespace lapidary::cuda
