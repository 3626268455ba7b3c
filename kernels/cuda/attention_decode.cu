#include <cuda_platform.h>

#include <cstdint>
#include <stdexcept>

#include "kernels/cuda/attention_call.h"
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/softmax_weights.cuh"

// Attention of one row a sequence. The time is that of reading the keys and values: a sequence's pages are
// shared out over blocks; all query heads of a KV head are rows of the same products, so that nothing is read
// twice. The block that ends last adds what they all found, in the order of the pages: which one that is
// changes no bit.

namespace lapidary::cuda {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps, kRows = 16;
constexpr int kWarpKeys = kPageKeys / kWarps;  // scores: a warp has 16 of the page's keys
constexpr int64_t kMostBlocks = 4096;          // of a grid; each then takes several units

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
  float most[kWarps][kRows];  // of each warp's keys
  float sums[kWarps][kRows];
  float shares[StepTable::kMaxSplits];  // of the decode's splits: factor of a split's sums,
  float counts[StepTable::kMaxSplits];  // and the sum of its weights
  bool last;                            // whether the decode's other units have ended
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
  float most[2] = {-INFINITY, -INFINITY};  // of rows lane / 4 and lane / 4 + 8; unused with a soft-cap
  float sum[2] = {};                       // of this lane's weights
};

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
      block.most[warp][lane / 4 + 8 * half] = quad_max(largest_of_row(s, half));
    __syncthreads();
    for (int half = 0; half < 2; ++half) {
      float now = sums.most[half];
      for (int w = 0; w < kWarps; ++w) now = fmaxf(now, block.most[w][lane / 4 + 8 * half]);
      // Every page of a unit has a key that its row sees: now is finite.
      offset[half] = now * exponents.factor;
      if (now > sums.most[half]) shrink[half] = ptx::exp2_fast((sums.most[half] - now) * exponents.factor);
      sums.most[half] = now;
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
      to.states[at] = make_float2(kCapped ? 0 : sums.most[half] * factor, sum);
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

/// The shares and counts of a head's splits; returns the sum of its weights. Each state is read by one
/// thread, so that all reads are under way at once.
template <class Shape>
__device__ __forceinline__ float share_out(const Partials& partials, const DecodeSpan& decode, int head,
                                           DecodeBlock<Shape>& block) {
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // nobody needs the shares of the head before
  for (int s = thread; s < decode.splits; s += kThreads) {
    const float2 state = partials.states[partials.at(decode.first_split + s, head)];
    block.shares[s] = state.x;
    block.counts[s] = state.y;
  }
  __syncthreads();
  float most = -INFINITY, sum = 0;
  for (int s = 0; s < decode.splits; ++s) most = fmaxf(most, block.shares[s]);
  __syncthreads();
  for (int s = thread; s < decode.splits; s += kThreads)
    block.shares[s] = ptx::exp2_fast(block.shares[s] - most);
  __syncthreads();
  for (int s = 0; s < decode.splits; ++s) sum = fmaf(block.shares[s], block.counts[s], sum);
  return sum;
}

/// x [4 columns] = the splits' sums by their shares, split by split. One read after the other would take
/// longer than the keys and values of a short sequence: some are always under way.
template <class Shape>
__device__ __forceinline__ void add_splits(float (&x)[4], const float* sums, int64_t step, int splits,
                                           const DecodeBlock<Shape>& block) {
  constexpr int kBatch = 8;
  for (int first = 0; first < splits; first += kBatch) {
    float4 read[kBatch];
    const auto counts = [&](int i) {  // else nobody wrote any
      return first + i < splits && block.counts[first + i] > 0;
    };
    LAPIDARY_UNROLL
    for (int i = 0; i < kBatch; ++i)
      read[i] =
          counts(i) ? *reinterpret_cast<const float4*>(sums + (first + i) * step) : make_float4(0, 0, 0, 0);
    LAPIDARY_UNROLL
    for (int i = 0; i < kBatch; ++i) {
      if (!counts(i)) continue;
      const float share = block.shares[first + i];
      x[0] = fmaf(share, read[i].x, x[0]);
      x[1] = fmaf(share, read[i].y, x[1]);
      x[2] = fmaf(share, read[i].z, x[2]);
      x[3] = fmaf(share, read[i].w, x[3]);
    }
  }
}

/// out [columns] of a decode's heads = weighted sums of its splits / sum of their weights.
template <class Shape>
__device__ __forceinline__ void combine(const AttentionCall& call, const Partials& partials, const Unit& unit,
                                        DecodeBlock<Shape>& block) {
  const int first_split = unit.decode.first_split, splits = unit.decode.splits, end = call.layout.head_dim;
  for (int head = unit.pairs.heads.first; head < unit.pairs.heads.first + unit.pairs.heads.count; ++head) {
    const float sum = share_out(partials, unit.decode, head, block);
    const int64_t to = call.out.at(unit.pairs.span.first_row, head);
    const float* sums = partials.sums + partials.at(first_split, head) * partials.columns;
    for (int column = 4 * static_cast<int>(threadIdx.x); column < end; column += 4 * kThreads) {
      float x[4] = {};
      add_splits(x, sums + column, int64_t{partials.heads} * partials.columns, splits, block);
      for (int i = 0; i < min(4, end - column); ++i) store_one(call.out, to + column + i, x[i] / sum);
    }
  }
}

/// Units blockIdx.x, blockIdx.x + gridDim.x, …: the KV heads of a split lie side by side, as in a page.
template <class Shape, bool kCapped>
__global__ void __launch_bounds__(kThreads, 4)  // the registers of more blocks would not hold the sums
    decode(EarlyStart, const AttentionCall call, const Exponents exponents, const Partials partials) {
  ptx::follow_previous();
  auto& block = *shared_memory<DecodeBlock<Shape>>();
  const int units = call.table.counts->splits * call.kv_heads();
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
  launch(stream, dim3(static_cast<unsigned>(std::min(units, kMostBlocks))), kThreads,
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
