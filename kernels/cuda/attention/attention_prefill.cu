#include <cuda_platform.h>

#include <cstdint>

#include "kernels/cuda/attention/attention_call.h"
#include "kernels/cuda/attention/attention_tiles.cuh"
#include "kernels/cuda/attention/prefill_tiles.cuh"
#include "kernels/cuda/attention/softmax_weights.cuh"

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
  static constexpr int kBlocks = 2;
  static constexpr bool kLoops = kColumns <= 64;
};

/// What a warp carries from page to page.
template <class P>
struct WarpSums {
  float out[P::kAtoms][P::kColumns / 8][4] = {};
  RowSums rows[P::kAtoms];
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

/// Shared memory.
template <class P>
struct Block {
  alignas(16) uint16_t queries[P::kRows * P::kStride];
  alignas(16) uint16_t ring[P::kSlots][P::kTileElements];
  PrefillTile<P> tile;
};

/// Starts the copy of tile t: the keys (even t) or the values of the block's page t / 2. Closes a group of
/// copies, with or without one.
template <class P>
__device__ __forceinline__ void fetch(Block<P>& block, const AttentionCall& call, int t) {
  const PrefillTile<P>& tile = block.tile;
  if (t < 2 * tile.pages) {
    const int page = tile.first_page + t / 2;
    const std::byte* keys = call.keys(tile.pairs.span, page, tile.kv_head);
    copy_tile<P, P::kThreads>(block.ring[t % P::kSlots], keys + t % 2 * call.layout.tile_bytes,
                              call.layout.row, tile.pairs.span.tokens - page * kPageKeys);
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

template <class P, bool kCapped>
__device__ __forceinline__ void attend_tile(Block<P>& block, const AttentionCall& call,
                                            const Exponents& exponents, int index, int tiles) {
  const PrefillTile<P>& tile = block.tile;
  if (!begin_tile(block.tile, call, index, tiles)) return;
  for (int t = 0; t < P::kSlots - 1; ++t) fetch(block, call, t);
  load_queries<P, P::kRows, P::kThreads>(block.queries, call.q, tile.pairs);
  __syncthreads();

  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const WarpQueries<P> mine(block.queries + warp * P::kWarpRows * P::kStride);
  WarpSums<P> sums;
  for (int t = 0; t < 2 * tile.pages; t += 2) {
    const uint16_t* keys = await(block, call, t);
    const Visible& visible = tile.visible[warp];
    const int first_key = (tile.first_page + t / 2) * kPageKeys;
    const bool wanted = visible.touches(first_key), all_seen = visible.covers(first_key);
    Scores<P> s;
    if (wanted) multiply_keys<P>(s, mine, keys);
    LAPIDARY_UNROLL
    for (int atom = 0; atom < P::kAtoms && wanted; ++atom) {
      if constexpr (kCapped) cap_scores(s[atom], exponents);
      LAPIDARY_UNROLL
      for (int half = 0; half < 2 && !all_seen; ++half)
        hide_unseen(s[atom], half, tile.seen[warp * P::kWarpRows + 16 * atom + 8 * half + lane / 4],
                    first_key);
      float shrink[2];
      weigh<kCapped>(s[atom], sums.rows[atom], shrink, exponents);
      if constexpr (!kCapped) shrink_rows(sums.out[atom], shrink);
    }
    const uint16_t* values = await(block, call, t + 1);
    if (wanted) add_values<P>(sums, s, values);
  }
  const int first_pair = tile.pairs.first + warp * P::kWarpRows;
  if (first_pair >= tile.pairs.end) return;
  with_store(call.out, [&](auto store_two) {
    LAPIDARY_UNROLL
    for (int atom = 0; atom < P::kAtoms; ++atom)
      store_rows(call, tile.pairs, first_pair + 16 * atom, sums.out[atom], sums.rows[atom], store_two);
  });
}

template <class P, bool kCapped>
__global__ void __launch_bounds__(P::kThreads, P::kBlocks)
    prefill(EarlyStart, const AttentionCall call, const Exponents exponents, int tiles) {
  ptx::follow_previous();
  Block<P>& block = *shared_memory<Block<P>>();
  for_tiles(block.tile, tiles * call.kv_heads(),
            [&](int index) { attend_tile<P, kCapped>(block, call, exponents, index, tiles); });
}

template <class P>
void launch_prefill(Stream stream, const AttentionCall& call, const StepTable& table) {
  launch_tiles<P>(stream, call, table, sizeof(Block<P>),
                  call.softcap > 0 ? prefill<P, true> : prefill<P, false>);
}

}  // namespace

void attend_prefill(Stream stream, const AttentionCall& call, const StepTable& table) {
  with_columns(call.layout.head_dim,
               [&]<int kColumns>() { launch_prefill<PrefillShape<kColumns>>(stream, call, table); });
}

}  // namespace lapidary::cuda
