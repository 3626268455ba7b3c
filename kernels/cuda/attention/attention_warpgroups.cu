#include <cuda_platform.h>
#include <warpgroup.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/attention/attention_call.h"
#include "kernels/cuda/attention/attention_tiles.cuh"
#include "kernels/cuda/attention/prefill_tiles.cuh"
#include "kernels/cuda/attention/softmax_weights.cuh"
#include "kernels/cuda/attention/warpgroup_tiles.cuh"

// The prefill of attention_prefill.cu on the tensor cores of sm_90a, which take their right operands from
// shared memory, and to their full rate only work so. A block has two warpgroups of 64 pairs each. Products
// run beside the softmax in one and the same warpgroup: while the scores of page t + 1 become weights, the
// values of page t are weighted and added. The scores themselves, which a warpgroup waits for, are formed
// beside the other's softmax where the tensor cores take one's products before the other's. That needs the
// registers of one page's scores, where scores a page ahead would need two; and no product is under way where
// the loop turns, which is what the compiler can follow.

namespace lapidary::cuda {
namespace {

template <int kColumns_>
struct GroupShape : HeadShape<kColumns_> {
  static constexpr int kColumns = kColumns_, kInner = HeadShape<kColumns_>::kInner;
  static constexpr int kGroups = 2, kWarps = 4 * kGroups, kThreads = 32 * kWarps;
  static constexpr int kGroupRows = 64, kWarpRows = 16, kRows = kGroups * kGroupRows;
  using Tile =
      std::conditional_t<kColumns % 64 == 0, SwizzledTile<kPageKeys, kInner>, WordTile<kPageKeys, kInner>>;
  static constexpr int kSteps = kInner / 16;
  /// Whether the queries stay in registers, so that their products read half as much of shared memory, whose
  /// rate they would else be bound by; 256 columns leave no room for them.
  static constexpr bool kKept = kColumns <= 128;
  /// Pages that are on their way while one is worked on: as many as cover the memory's latency by the time
  /// that a page takes, and as shared memory has room for.
  static constexpr int kAhead = kColumns <= 72 ? 3 : kColumns <= 128 ? 2 : 1;
  static constexpr int kSlots = kAhead + 1;
  static constexpr int kBlocks = 1;
  static constexpr bool kLoops = kColumns <= 128;
};

/// Shared memory.
template <class P>
struct Block {
  using Tile = typename P::Tile;
  static constexpr int kQueryBytes =
      P::kKept ? P::kRows * P::kStride * 2 : P::kGroups * static_cast<int>(Tile::kBytes);

  alignas(Tile::kAlignment) std::byte keys[P::kSlots][Tile::kBytes];
  alignas(Tile::kAlignment) std::byte values[P::kSlots][Tile::kBytes];
  alignas(Tile::kAlignment) std::byte queries[kQueryBytes];
  PrefillTile<P> tile;
};

template <class P>
class GroupQueries {
 public:
  /// All threads of the block. The block's queries are in its memory then.
  __device__ GroupQueries(Block<P>& block, const AttentionCall& call) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if constexpr (P::kKept) {
      auto* rows = reinterpret_cast<uint16_t*>(block.queries);
      load_queries<P, P::kRows, P::kThreads>(rows, call.q, block.tile.pairs);
      __syncthreads();
      LAPIDARY_UNROLL
      for (int step = 0; step < P::kSteps; ++step)
        load_left<P>(kept_[step], rows + warp * P::kWarpRows * P::kStride, 16 * step);
    } else {
      load_tiles(block, call);
      tile_ = P::Tile::k_major(block.queries + warp / 4 * P::Tile::kBytes);
    }
  }

  /// s = queries · keysᵀ, as a group of products that was begun.
  __device__ __forceinline__ void begin_scores(float (&s)[kPageKeys / 8][4], const std::byte* keys) const {
    const uint64_t operand = P::Tile::k_major(keys);
    ptx::fence_products();
    LAPIDARY_UNROLL
    for (int step = 0; step < P::kSteps; ++step) {
      const int at = P::Tile::column_step(step);
      if constexpr (P::kKept)
        ptx::multiply(s, kept_[step], moved(operand, at), step > 0);
      else
        ptx::multiply(s, moved(tile_, at), moved(operand, at), step > 0);
    }
    ptx::commit_products();
  }

 private:
  /// Each warpgroup's queries, rounded to bfloat16, as a tile of its own; zeros behind the last.
  __device__ static void load_tiles(Block<P>& block, const AttentionCall& call) {
    const Pairs& pairs = block.tile.pairs;
    for (int i = static_cast<int>(threadIdx.x); i < P::kRows * P::Tile::kWords; i += P::kThreads) {
      const int row = i / P::Tile::kWords, word = i % P::Tile::kWords, pair = pairs.first + row;
      float x[8] = {};
      if (pair < pairs.end && word * 8 < call.q.head_dim)
        load_eight(x, call.q, pairs.at(call.q, pair), word * 8);
      *reinterpret_cast<uint4*>(block.queries + row / P::kGroupRows * P::Tile::kBytes +
                                P::Tile::place(row % P::kGroupRows, word)) = round_eight(x);
    }
  }

  uint64_t tile_ = 0;
  uint32_t kept_[P::kKept ? P::kSteps : 1][4];
};

/// What a warpgroup carries from page to page. While the weighted values of a page are formed, `out` and
/// `weights` are not the threads'.
template <class P>
struct GroupSums {
  float out[P::kColumns / 8][4] = {};
  uint32_t weights[kPageKeys / 16][4];
  RowSums rows;
};

/// out += weights · values, as a group of products that was begun.
template <class P>
__device__ __forceinline__ void begin_values(GroupSums<P>& sums, const std::byte* values) {
  const uint64_t operand = P::Tile::mn_major(values);
  ptx::fence_products();
  LAPIDARY_UNROLL
  for (int step = 0; step < kPageKeys / 16; ++step)
    ptx::multiply_rows(sums.out, sums.weights[step], moved(operand, P::Tile::row_step(step)));
  ptx::commit_products();
}

/// Start the copy of the keys or values of the block's page t, if there is one.
template <class P>
__device__ __forceinline__ void fetch(std::byte* to, const PrefillTile<P>& tile, const AttentionCall& call,
                                      int t, bool values) {
  if (t >= tile.pages) return;
  const int page = tile.first_page + t;
  const std::byte* from = call.keys(tile.pairs.span, page, tile.kv_head);
  copy_page<typename P::Tile, P::kThreads>(to, from + (values ? call.layout.tile_bytes : 0), call.layout.row,
                                           tile.pairs.span.tokens - page * kPageKeys);
}
template <class P>
__device__ __forceinline__ void fetch_keys(Block<P>& block, const AttentionCall& call, int t) {
  fetch<P>(block.keys[t % P::kSlots], block.tile, call, t, false);
}
/// What page t's turn needs: its values, and the keys of the next one. A group of copies, also if empty.
template <class P>
__device__ __forceinline__ void fetch_turn(Block<P>& block, const AttentionCall& call, int t) {
  fetch_keys(block, call, t + 1);
  fetch<P>(block.values[t % P::kSlots], block.tile, call, t, true);
  ptx::commit_copies();
}

/// All but the last kLeft groups of copies have come, for all threads and for products.
template <int kLeft>
__device__ __forceinline__ void await_copies() {
  ptx::wait_copies<kLeft>();
  ptx::fence_shared_writes();
  __syncthreads();
}

/// Page t's scores become weights. shrink: as weigh() has it.
template <class P, bool kCapped>
__device__ __forceinline__ void weigh_page(float (&s)[kPageKeys / 8][4], RowSums& rows, float (&shrink)[2],
                                           const PrefillTile<P>& tile, int t, const Exponents& exponents) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int first_key = (tile.first_page + t) * kPageKeys;
  const bool all_seen = tile.visible[warp].covers(first_key);
  if constexpr (kCapped) cap_scores(s, exponents);
  LAPIDARY_UNROLL
  for (int half = 0; half < 2 && !all_seen; ++half)
    hide_unseen(s, half, tile.seen[warp * P::kWarpRows + 8 * half + lane / 4], first_key);
  weigh<kCapped>(s, rows, shrink, exponents);
}

/// The weights of a page as left operands.
__device__ __forceinline__ void keep_weights(uint32_t (&weights)[kPageKeys / 16][4],
                                             const float (&s)[kPageKeys / 8][4]) {
  LAPIDARY_UNROLL
  for (int step = 0; step < kPageKeys / 16; ++step)
    weights_as_left(weights[step], s[2 * step], s[2 * step + 1]);
}

/// The values of all pages but the last are added, and the weights of all pages made.
template <class P, bool kCapped>
__device__ __forceinline__ void take_pages(Block<P>& block, const AttentionCall& call, GroupSums<P>& sums,
                                           const Exponents& exponents) {
  const GroupQueries<P> queries(block, call);
  const PrefillTile<P>& tile = block.tile;
  float s[kPageKeys / 8][4], shrink[2];
  await_copies<P::kAhead>();
  queries.begin_scores(s, block.keys[0]);
  ptx::wait_products<0>();
  ptx::settle(s);
  weigh_page<P, kCapped>(s, sums.rows, shrink, tile, 0, exponents);
  keep_weights(sums.weights, s);
  for (int t = 0; t + 1 < tile.pages; ++t) {
    await_copies<P::kAhead - 1>();
    queries.begin_scores(s, block.keys[(t + 1) % P::kSlots]);
    begin_values(sums, block.values[t % P::kSlots]);
    fetch_turn(block, call, t + P::kAhead);  // to where page t's keys and page t - 1's values were
    ptx::wait_products<1>();
    ptx::settle(s);
    weigh_page<P, kCapped>(s, sums.rows, shrink, tile, t + 1, exponents);
    ptx::wait_products<0>();
    ptx::settle(sums.out);
    if constexpr (!kCapped) shrink_rows(sums.out, shrink);
    keep_weights(sums.weights, s);
  }
}

/// A page that a pair does not see adds zeros to its sums: they stay the same bits.
template <class P, bool kCapped>
__device__ __forceinline__ void attend_tile(Block<P>& block, const AttentionCall& call,
                                            const Exponents& exponents, int index, int tiles) {
  const PrefillTile<P>& tile = block.tile;
  if (!begin_tile(block.tile, call, index, tiles)) return;
  fetch_keys(block, call, 0);
  ptx::commit_copies();
  for (int t = 0; t < P::kAhead; ++t) fetch_turn(block, call, t);
  GroupSums<P> sums;
  take_pages<P, kCapped>(block, call, sums, exponents);
  await_copies<P::kAhead - 1>();
  begin_values(sums, block.values[(tile.pages - 1) % P::kSlots]);
  ptx::wait_products<0>();
  ptx::settle(sums.out);
  const int first_pair = tile.pairs.first + static_cast<int>(threadIdx.x) / 32 * P::kWarpRows;
  if (first_pair >= tile.pairs.end) return;
  with_store(call.out, [&](auto store_two) {
    store_rows(call, tile.pairs, first_pair, sums.out, sums.rows, store_two);
  });
}

template <class P, bool kCapped>
__global__ void __launch_bounds__(P::kThreads, P::kBlocks)
    prefill_groups(EarlyStart, const AttentionCall call, const Exponents exponents, int tiles) {
  ptx::follow_previous();
  Block<P>& block = *shared_memory<Block<P>>();
  for_tiles(block.tile, tiles * call.kv_heads(),
            [&](int index) { attend_tile<P, kCapped>(block, call, exponents, index, tiles); });
}

template <int kColumns>
void launch_groups(Stream stream, const AttentionCall& call, const StepTable& table) {
  using P = GroupShape<kColumns>;
  launch_tiles<P>(stream, call, table, sizeof(Block<P>),
                  call.softcap > 0 ? prefill_groups<P, true> : prefill_groups<P, false>);
}

}  // namespace

void attend_prefill_by_warpgroups(Stream stream, const AttentionCall& call, const StepTable& table) {
  if (call.layout.head_dim <= 72) return launch_groups<72>(stream, call, table);
  if (call.layout.head_dim <= 128) return launch_groups<128>(stream, call, table);
  launch_groups<256>(stream, call, table);
}

}  // namespace lapidary::cuda
