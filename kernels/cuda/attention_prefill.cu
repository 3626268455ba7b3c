#include <cuda_platform.h>

#include <cstdint>

#include "kernels/cuda/attention_call.h"
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/softmax_weights.cuh"

// Attention of many rows, in one pass over the keys. A block takes a tile of pairs (row, head) of one span
// and KV head; a warp takes kAtoms times 16 of them, whose scores, weights and sums stay in registers. Keys
// and values come page by page through a ring of tiles in shared memory; the copy of the next tiles runs
// beneath the products of this one.

namespace lapidary::cuda {
namespace {

template <int kColumns>
struct PrefillShape : HeadShape<kColumns> {
  static constexpr int kWarps = 4, kThreads = 32 * kWarps;
  /// Two where the sums fit the registers: a fragment of keys or values, once read, serves 32 rows.
  static constexpr int kAtoms = kColumns <= 128 ? 2 : 1;
  static constexpr int kWarpRows = kAtoms * 16, kRows = kWarps * kWarpRows;
  /// Tiles of the ring: what lets two blocks share the memory of a multiprocessor.
  static constexpr int kSlots = kColumns <= 72 ? 4 : kColumns <= 128 ? 3 : 2;
  /// Whether the queries stay in registers, or are read again for each page.
  static constexpr bool kKept = kColumns <= 72;
  static constexpr int kSteps = HeadShape<kColumns>::kInner / 16;
};

/// What a warp carries from page to page. Lane l has rows l / 4 and l / 4 + 8 of each atom.
template <class P>
struct WarpSums {
  float out[P::kAtoms][P::kColumns / 8][4] = {};
  float most[P::kAtoms][2];  // largest score so far; unused with a soft-cap
  float sum[P::kAtoms][2] = {};

  __device__ WarpSums() {
    LAPIDARY_UNROLL
    for (auto& atom : most) atom[0] = atom[1] = -INFINITY;
  }
};

/// Queries of a warp as left operands.
template <class P>
class WarpQueries {
 public:
  __device__ explicit WarpQueries(const uint16_t* tile) : tile_(tile) {
    if constexpr (P::kKept) {
      LAPIDARY_UNROLL
      for (int i = 0; i < P::kAtoms * P::kSteps; ++i) {
        const int atom = i / P::kSteps, step = i % P::kSteps;
        load_left<P>(kept_[atom][step], tile + 16 * atom * P::kStride, 16 * step);
      }
    }
  }
  __device__ __forceinline__ void get(uint32_t (&a)[4], int atom, int step) const {
    if constexpr (P::kKept) {
      LAPIDARY_UNROLL
      for (int i = 0; i < 4; ++i) a[i] = kept_[atom][step][i];
    } else {
      load_left<P>(a, tile_ + 16 * atom * P::kStride, 16 * step);
    }
  }

 private:
  const uint16_t* tile_;
  uint32_t kept_[P::kKept ? P::kAtoms : 1][P::kKept ? P::kSteps : 1][4];
};

template <class P>
using Scores = float[P::kAtoms][kPageKeys / 8][4];

/// s = queries · keysᵀ
template <class P>
__device__ __forceinline__ void multiply_keys(Scores<P>& s, const WarpQueries<P>& queries,
                                              const uint16_t* keys) {
  LAPIDARY_UNROLL
  for (int atom = 0; atom < P::kAtoms; ++atom) clear(s[atom]);
  LAPIDARY_UNROLL
  for (int step = 0; step < P::kSteps; ++step) {
    uint32_t a[P::kAtoms][4];
    LAPIDARY_UNROLL
    for (int atom = 0; atom < P::kAtoms; ++atom) queries.get(a[atom], atom, step);
    LAPIDARY_UNROLL
    for (int n = 0; n < kPageKeys / 16; ++n) {
      const KeyFragment<P> b(keys + 16 * n * P::kStride, 16 * step);
      LAPIDARY_UNROLL
      for (int atom = 0; atom < P::kAtoms; ++atom) {
        ptx::mma_bf16(s[atom][2 * n], a[atom], b.low);
        ptx::mma_bf16(s[atom][2 * n + 1], a[atom], b.high);
      }
    }
  }
}

/// sums.out += weights · values
template <class P>
__device__ __forceinline__ void add_values(WarpSums<P>& sums, const Scores<P>& weights,
                                           const uint16_t* values) {
  LAPIDARY_UNROLL
  for (int step = 0; step < kPageKeys / 16; ++step) {
    uint32_t a[P::kAtoms][4];
    LAPIDARY_UNROLL
    for (int atom = 0; atom < P::kAtoms; ++atom)
      weights_as_left(a[atom], weights[atom][2 * step], weights[atom][2 * step + 1]);
    LAPIDARY_UNROLL
    for (int n = 0; n < (P::kColumns + 8) / 16; ++n) {
      const ValueFragment<P> b(values + 16 * step * P::kStride, 16 * n);
      LAPIDARY_UNROLL
      for (int atom = 0; atom < P::kAtoms; ++atom) {
        ptx::mma_bf16(sums.out[atom][2 * n], a[atom], b.low);
        if (2 * n + 1 < P::kColumns / 8) ptx::mma_bf16(sums.out[atom][2 * n + 1], a[atom], b.high);
      }
    }
  }
}

/// A page's scores of one atom become weights; what the warp carries is rescaled where a largest score grew.
template <class P, bool kCapped>
__device__ __forceinline__ void weigh(float (&s)[kPageKeys / 8][4], WarpSums<P>& sums, int atom,
                                      const Exponents& exponents) {
  float offset[2] = {}, shrink[2] = {1, 1};
  LAPIDARY_UNROLL
  for (int half = 0; half < 2 && !kCapped; ++half) {
    float& most = sums.most[atom][half];
    const float now = fmaxf(most, quad_max(largest_of_row(s, half)));
    // Nothing seen yet: any finite number keeps -inf - -inf away.
    offset[half] = now > -INFINITY ? now * exponents.factor : 0.0f;
    if (now > most) shrink[half] = ptx::exp2_fast((most - now) * exponents.factor);
    most = now;
  }
  if (!kCapped && __any_sync(kAllLanes, shrink[0] != 1 || shrink[1] != 1)) {
    LAPIDARY_UNROLL
    for (auto& tile : sums.out[atom]) LAPIDARY_UNROLL
    for (int i = 0; i < 4; ++i) tile[i] *= shrink[i / 2];
    LAPIDARY_UNROLL
    for (int half = 0; half < 2; ++half) sums.sum[atom][half] *= shrink[half];
  }
  LAPIDARY_UNROLL
  for (int half = 0; half < 2; ++half)
    sums.sum[atom][half] += weigh_row<kCapped>(s, half, exponents.factor, offset[half]);
}

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
};

/// Shared memory. What all threads know lies here too, as registers are what this kernel is short of.
template <class P>
struct Block {
  alignas(16) uint16_t queries[P::kRows * P::kStride];
  alignas(16) uint16_t ring[P::kSlots][P::kTileElements];
  Seen seen[P::kRows];
  Visible visible[P::kWarps];  // no key for a warp without pairs
  Pairs pairs;
  int kv_head, first_page, tiles;
};

/// Finds the block's tile, one of all tiles of all spans of several rows. False where there is none.
template <class P>
__device__ __forceinline__ bool find_tile(Pairs& pairs, const AttentionCall& call, int kv_head) {
  const int spans = call.table.counts->prefills;
  int tile = static_cast<int>(blockIdx.x);
  for (int i = 0; i < spans; ++i) {
    const PrefillSpan span = call.table.prefills[i];
    const int tiles = (span.rows * call.most_heads() + P::kRows - 1) / P::kRows;
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

/// Fills what the threads know together. False for all of them where there is nothing to do.
template <class P>
__device__ __forceinline__ bool begin_block(Block<P>& block, const AttentionCall& call) {
  const int kv_head = call.first_kv_head() + static_cast<int>(blockIdx.y);
  Pairs pairs;
  if (!find_tile<P>(pairs, call, kv_head)) return false;
  const int thread = static_cast<int>(threadIdx.x);
  for (int row = thread; row < P::kRows; row += P::kThreads) {
    const bool there = pairs.first + row < pairs.end;
    const KeyRange keys = call.keys_of(pairs.span, pairs.row(there ? pairs.first + row : pairs.first));
    block.seen[row] = {static_cast<int>(keys.begin), static_cast<int>(there ? keys.end : keys.begin)};
  }
  if (thread < P::kWarps) {
    const int first = pairs.first + thread * P::kWarpRows;
    block.visible[thread] = {};
    if (first < pairs.end)
      block.visible[thread] = Visible(call, pairs, first, min(first + P::kWarpRows, pairs.end));
  }
  if (thread == 0) {
    const Seen any = Visible(call, pairs, pairs.first, pairs.end).any;
    block.pairs = pairs;
    block.kv_head = kv_head;
    block.first_page = any.begin / kPageKeys;
    block.tiles = 2 * ((any.end + kPageKeys - 1) / kPageKeys - block.first_page);
  }
  __syncthreads();
  return true;
}

/// Starts the copy of tile t: the keys (even t) or the values of the block's page t / 2. Closes a group of
/// copies, with or without one.
template <class P>
__device__ __forceinline__ void fetch(Block<P>& block, const AttentionCall& call, int t) {
  if (t < block.tiles) {
    const int page = block.first_page + t / 2;
    const std::byte* keys = call.keys(block.pairs.span, page, block.kv_head);
    copy_tile<P, P::kThreads>(block.ring[t % P::kSlots], keys + t % 2 * call.layout.tile_bytes,
                              call.layout.row, block.pairs.span.tokens - page * kPageKeys);
  }
  ptx::commit_copies();
}

/// Tile t has come, and all warps are done with tile t - 1, whose place the next one takes.
template <class P>
__device__ __forceinline__ const uint16_t* await(Block<P>& block, const AttentionCall& call, int t) {
  ptx::wait_copies<P::kSlots - 2>();
  __syncthreads();
  fetch(block, call, t + P::kSlots - 1);
  return block.ring[t % P::kSlots];
}

template <class P, class StoreTwo>
__device__ __forceinline__ void store_rows(const AttentionCall& call, const Pairs& pairs, int first_pair,
                                           const WarpSums<P>& sums, StoreTwo store_two) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  LAPIDARY_UNROLL
  for (int atom = 0; atom < P::kAtoms; ++atom) {
    LAPIDARY_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float scale = 1 / quad_sum(sums.sum[atom][half]);
      const int pair = first_pair + 16 * atom + 8 * half + lane / 4;
      if (pair >= pairs.end) continue;
      const int64_t head = pairs.at(call.out, pair);
      LAPIDARY_UNROLL
      for (int n = 0; n < P::kColumns / 8; ++n) {
        const float* x = sums.out[atom][n] + 2 * half;
        store_two(call.out, head, 8 * n + lane % 4 * 2, x[0] * scale, x[1] * scale);
      }
    }
  }
}

/// Block (tile, KV head).
template <class P, bool kCapped>
__global__ void __launch_bounds__(P::kThreads, 2)
    prefill(EarlyStart, const AttentionCall call, const Exponents exponents) {
  ptx::follow_previous();
  Block<P>& block = *shared_memory<Block<P>>();
  if (!begin_block(block, call)) return;
  for (int t = 0; t < P::kSlots - 1; ++t) fetch(block, call, t);
  load_queries<P, P::kRows, P::kThreads>(block.queries, call.q, block.pairs);
  __syncthreads();

  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const WarpQueries<P> mine(block.queries + warp * P::kWarpRows * P::kStride);
  WarpSums<P> sums;
  for (int t = 0; t < block.tiles; t += 2) {
    const uint16_t* keys = await(block, call, t);
    const Visible& visible = block.visible[warp];
    const int first_key = (block.first_page + t / 2) * kPageKeys;
    const bool wanted = first_key < visible.any.end && first_key + kPageKeys > visible.any.begin;
    const bool all_seen = visible.all.begin <= first_key && first_key + kPageKeys <= visible.all.end;
    Scores<P> s;
    if (wanted) multiply_keys<P>(s, mine, keys);
    LAPIDARY_UNROLL
    for (int atom = 0; atom < P::kAtoms && wanted; ++atom) {
      if constexpr (kCapped) cap_scores(s[atom], exponents);
      LAPIDARY_UNROLL
      for (int half = 0; half < 2 && !all_seen; ++half)
        hide_unseen(s[atom], half, block.seen[warp * P::kWarpRows + 16 * atom + 8 * half + lane / 4],
                    first_key);
      weigh<P, kCapped>(s[atom], sums, atom, exponents);
    }
    const uint16_t* values = await(block, call, t + 1);
    if (wanted) add_values<P>(sums, s, values);
  }
  const int first_pair = block.pairs.first + warp * P::kWarpRows;
  if (first_pair >= block.pairs.end) return;
  if (!call.out.aligned)
    store_rows<P>(call, block.pairs, first_pair, sums, StoreAny{});
  else if (call.out.bf16)
    store_rows<P>(call, block.pairs, first_pair, sums, StoreNarrow{});
  else
    store_rows<P>(call, block.pairs, first_pair, sums, StoreWide{});
}

template <class P>
void launch_prefill(Stream stream, const AttentionCall& call, const StepTable& table) {
  int64_t tiles = 0;
  for (const PrefillSpan& span : table.prefills())
    tiles += (static_cast<int64_t>(span.rows) * call.most_heads() + P::kRows - 1) / P::kRows;
  if (tiles == 0) return;
  const Exponents exponents(call.scale, call.softcap);
  launch(stream, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(call.kv_heads())), P::kThreads,
         sizeof(Block<P>), call.softcap > 0 ? prefill<P, true> : prefill<P, false>, call, exponents);
}

}  // namespace

void attend_prefill(Stream stream, const AttentionCall& call, const StepTable& table) {
  with_columns(call.layout.head_dim,
               [&]<int kColumns>() { launch_prefill<PrefillShape<kColumns>>(stream, call, table); });
}

}  // namespace lapidary::cuda
