#pragma once

#include <cuda_platform.h>

#include <bit>
#include <cstdint>
#include <span>

#include "kernels/cuda/peer/peer_sum.h"
#include "kernels/cuda/rows/merges.cuh"

// How numbers of a sum travel between devices: each rank writes its own into everyone's window, and reads
// what has come to its own. A word of a window is a number's bits turned over; a word of 0 is a number that
// has not come. So the numbers are their own flags: there is no fence and no barrier between devices, and any
// thread of a kernel may send or await any of them. Who has read a word empties it again.
//
// A window has two halves, and sums take turns in them. When a rank sends into a half again, all have emptied
// it: to end the sum between it has heard of every other rank's, which that rank began when its own sum
// before had ended. That holds for sums of any kinds and sizes after each other, as every sum has a number of
// every rank. Turns are counted on the device, so a recorded sum can be replayed.

namespace lapidary::cuda {

constexpr int kPeerChunk = 4;  // numbers that a thread sends at once: 16 bytes

__device__ __forceinline__ uint32_t word_of(float number) {
  const uint32_t word = ~__float_as_uint(number);
  return word != 0 ? word : 1;  // another NaN
}

/// The ranks' numbers added in a balanced tree, as they are when each rank has as many leaves.
template <int kRanks>
struct BalancedOrder {
  static constexpr int kMax = kRanks;

  template <int kFirst = 0, int kCount = kRanks, class Number>
  __device__ __forceinline__ float sum(const Number& number) const {
    if constexpr (kCount == 1)
      return number(kFirst);
    else
      return sum<kFirst, kCount / 2>(number) + sum<kFirst + kCount / 2, kCount / 2>(number);
  }
  static bool is(std::span<const int> merges) {
    for (size_t r = 0; r < merges.size(); ++r)
      if (merges[r] != std::countr_one(r)) return false;
    return merges.size() == kRanks;
  }
};

/// In any other order.
struct MergedOrder {
  static constexpr int kMax = kMaxPeers;
  static constexpr int kMaxDepth = 4;  // of the stack, for a balanced tree; in rank order it takes 2
  Merges<kMax, kMaxDepth> merges;

  template <class Number>
  __device__ __forceinline__ float sum(const Number& number) const {
    SumStack<kMaxDepth> stack;
    LAPIDARY_UNROLL
    for (int r = 0; r < kMax; ++r)
      if (r < merges.count) stack.push(number(r), merges.of[r]);
    return stack.sums[0];
  }
};

/// The group as a kernel of one rank sees it. A thread that comes to `sum` of a chunk has sent it. Windows
/// and ranks are named by numbers of compile time, or they and what has come would not lie in registers.
struct Peers {
  int ranks, rank;
  uint4* windows[kMaxPeers];  // chunks of words [2 halves, ranks, kMaxPeerNumbers / kPeerChunk]
  uint4* own;                 // windows[rank]
  uint32_t* turns;            // [2], this device's own: sums that are done; blocks that are, of the next
  const uint32_t* abort;      // memory of the host; not 0: nobody waits any more

  __device__ uint32_t half() const { return *turns & 1; }

  /// Where chunk i of a rank's numbers lies in each window.
  __device__ __forceinline__ uint32_t place(uint32_t half, int from, uint32_t i) const {
    constexpr auto kChunks = static_cast<uint32_t>(kMaxPeerNumbers / kPeerChunk);
    return (half * static_cast<uint32_t>(ranks) + static_cast<uint32_t>(from)) * kChunks + i;
  }

  /// Chunk i of this rank's numbers to the others.
  template <class Order>
  __device__ __forceinline__ void send(uint32_t half, uint32_t i, const float (&mine)[kPeerChunk],
                                       const Order&) const {
    const uint4 words = make_uint4(word_of(mine[0]), word_of(mine[1]), word_of(mine[2]), word_of(mine[3]));
    const uint32_t at = place(half, rank, i);
    LAPIDARY_UNROLL
    for (int to = 0; to < Order::kMax; ++to)
      if (to < ranks && to != rank) ptx::store_far(windows[to] + at, words);
  }

  /// The ranks' sums in place of this rank's numbers, when those of the others have come.
  template <class Order>
  __device__ __forceinline__ void sum(uint32_t half, uint32_t i, float (&mine)[kPeerChunk],
                                      const Order& order) const {
    uint4 words[Order::kMax] = {};
    await(half, i, words);
    LAPIDARY_UNROLL
    for (int r = 0; r < Order::kMax; ++r)
      if (r < ranks && r != rank) own[place(half, r, i)] = make_uint4(0, 0, 0, 0);
    const auto added = [&](float one, auto word) {
      return order.sum([&](int r) { return r == rank ? one : __uint_as_float(~word(words[r])); });
    };
    mine[0] = added(mine[0], [](const uint4& w) { return w.x; });
    mine[1] = added(mine[1], [](const uint4& w) { return w.y; });
    mine[2] = added(mine[2], [](const uint4& w) { return w.z; });
    mine[3] = added(mine[3], [](const uint4& w) { return w.w; });
  }

  /// Behind all the block's sums, by all its threads.
  __device__ __forceinline__ void end_turn() const {
    __syncthreads();
    if (threadIdx.x != 0 || atomicAdd(turns + 1, 1u) != gridDim.x - 1) return;
    turns[1] = 0;  // all blocks know the half: nobody else is here
    ++*turns;
  }

 private:
  /// All that is missing is asked for at once, and then again.
  template <int kMax>
  __device__ __forceinline__ void await(uint32_t half, uint32_t i, uint4 (&words)[kMax]) const {
    uint32_t missing = ((1u << ranks) - 1) & ~(1u << rank);
    for (uint32_t asked = 1; missing != 0; ++asked) {
      LAPIDARY_UNROLL
      for (int r = 0; r < kMax; ++r)
        if ((missing >> r & 1) != 0) words[r] = ptx::load_fresh(own + place(half, r, i));
      LAPIDARY_UNROLL
      for (int r = 0; r < kMax; ++r)
        if (words[r].x != 0 && words[r].y != 0 && words[r].z != 0 && words[r].w != 0) missing &= ~(1u << r);
      if ((asked & 255) == 0 && ptx::load_acquire(abort) != 0) break;
    }
  }
};

}  // namespace lapidary::cuda
