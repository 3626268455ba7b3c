#pragma once

#include <cuda_platform.h>

#include <cstdint>

#include "kernels/backend.h"

// The order of candidates, and how a block finds the best of many.

namespace lapidary::cuda {

constexpr int kBins = 256;

// A candidate's key is a number of 64 bits, the larger the earlier in a result: its logit so that whole
// numbers order as floats do, then its token (or column) from the other end, so that the lower of two equals
// wins. No two of a row are equal, none is 0.

__device__ inline uint64_t key_of(float logit, int64_t token) {
  const float value = logit == logit ? logit + 0.0f : -__uint_as_float(0x7f800000u);  // -0 counts as 0
  const uint32_t bits = __float_as_uint(value);
  const uint32_t order = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{order} << 32 | (0xffffffffu - static_cast<uint32_t>(token));
}
__device__ inline uint64_t key_of(const Candidate& c) { return key_of(c.logit, c.token); }
__host__ __device__ inline uint32_t logit_bits(uint64_t key) {
  const auto order = static_cast<uint32_t>(key >> 32);
  return order >> 31 != 0 ? order & 0x7fffffffu : ~order;
}
__host__ __device__ inline int64_t token_of(uint64_t key) { return 0xffffffffu - static_cast<uint32_t>(key); }

/// What the threads of a block share while they look for the k-th largest of many keys.
struct Search {
  uint32_t bins[kBins];  // keys a digit, of those with the prefix
  uint64_t prefix;       // upper digits of the k-th largest
  uint32_t wanted;       // it is the wanted-th largest of those with the prefix
  uint32_t in_prefix;    // how many have it
  uint32_t taken;
};

/// Warp 0 appends to the prefix the digit at which the bins, from above, reach `wanted`.
__device__ inline void choose_digit(Search& search) {
  const int lane = static_cast<int>(threadIdx.x), highest = kBins - 1 - 8 * lane;  // lane 0 has the top bins
  uint32_t mine = 0;
  for (int i = 0; i < 8; ++i) mine += search.bins[highest - i];
  uint32_t up_to = mine;
  for (int by = 1; by < 32; by *= 2) {
    const uint32_t before = __shfl_sync(0xffffffffu, up_to, max(lane - by, 0));
    if (lane >= by) up_to += before;
  }
  const uint32_t wanted = search.wanted;
  __syncwarp();
  uint32_t above = up_to - mine;
  if (above >= wanted || up_to < wanted) return;
  int digit = highest;
  for (; above + search.bins[digit] < wanted; --digit) above += search.bins[digit];
  search.prefix = search.prefix << 8 | static_cast<uint64_t>(digit);
  search.wanted = wanted - above;
  search.in_prefix = search.bins[digit];
}

/// All threads of the block: take(key) is called for each of the k largest of key(0) … key(n - 1), in any
/// order; 0 < k <= n. The k-th largest is found digit by digit, and differs from the one behind it. Ends
/// with a barrier to come: what take() wrote is not yet seen by all.
template <int kThreads, class Key, class Take>
__device__ void take_largest(Search& search, int64_t n, int64_t k, const Key& key, const Take& take) {
  if (threadIdx.x == 0) {
    search.prefix = 0;
    search.wanted = static_cast<uint32_t>(k);
    search.in_prefix = static_cast<uint32_t>(n);
    search.taken = 0;
  }
  __syncthreads();
  int shift = 64;
  while (search.in_prefix != search.wanted) {
    shift -= 8;
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads) search.bins[bin] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const uint64_t upper = key(i) >> shift;
      if (upper >> 8 == search.prefix) atomicAdd(&search.bins[upper & 0xff], 1u);
    }
    __syncthreads();
    if (threadIdx.x < 32) choose_digit(search);
    __syncthreads();
  }
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const uint64_t here = key(i);
    if (shift == 64 || here >> shift >= search.prefix) take(here);
  }
}

/// The largest of the block's threads' keys, on thread 0. of_warps: shared.
template <int kThreads>
__device__ uint64_t largest_of_block(uint64_t mine, uint64_t* of_warps) {
  for (int bits = 16; bits > 0; bits /= 2) mine = max(mine, __shfl_xor_sync(0xffffffffu, mine, bits));
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int warp = 1; warp < kThreads / 32; ++warp) mine = max(mine, of_warps[warp]);
  return mine;
}

}  // namespace lapidary::cuda
