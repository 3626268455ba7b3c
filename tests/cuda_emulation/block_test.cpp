#include "tests/cuda_emulation/block.h"

#include <cuda_platform.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/cuda_emulation/random_bf16.h"

// The emulation itself: what it promises of a block's threads, and the instructions against plain loops.

namespace lapidary::cuda {
namespace {

constexpr uint32_t kAll = 0xffffffffu;

/// Runs a kernel at once, as one block.
template <class... Parameters, class... Arguments>
void run_block(int threads, size_t shared_bytes, void (*kernel)(Parameters...), Arguments... arguments) {
  launch(Stream{}, dim3(1), threads, shared_bytes, kernel, arguments...);
}

__global__ void shuffle_all_ways(int* rotated, int* crossed, int* down, uint32_t* ballot) {
  const int t = static_cast<int>(threadIdx.x);
  rotated[t] = __shfl_sync(kAll, t, (t + 1) % 32);
  crossed[t] = __shfl_xor_sync(kAll, t, 5);
  down[t] = __shfl_down_sync(kAll, t, 4);
  ballot[t] = __ballot_sync(kAll, t % 3 == 0);
}

TEST(Block, LanesOfAWarpExchangeValues) {
  std::vector<int> rotated(64), crossed(64), down(64);
  std::vector<uint32_t> ballot(64);
  run_block(64, 0, shuffle_all_ways, rotated.data(), crossed.data(), down.data(), ballot.data());
  for (int t = 0; t < 64; ++t) {
    const auto i = static_cast<size_t>(t);
    const int first = t / 32 * 32, lane = t % 32;
    EXPECT_EQ(rotated[i], first + (lane + 1) % 32);
    EXPECT_EQ(crossed[i], first + (lane ^ 5));
    EXPECT_EQ(down[i], lane < 28 ? t + 4 : t);
    for (int other = 0; other < 32; ++other) EXPECT_EQ(ballot[i] >> other & 1, (first + other) % 3 == 0);
  }
}

__global__ void shuffle_in_half(int* sums) {
  if (threadIdx.x >= 16) return;
  int sum = static_cast<int>(threadIdx.x);
  for (int bits = 8; bits > 0; bits /= 2) sum += __shfl_xor_sync(0x0000ffffu, sum, bits);
  sums[threadIdx.x] = sum;
}

TEST(Block, APartOfAWarpExchangesByItself) {
  std::vector<int> sums(32);
  run_block(32, 0, shuffle_in_half, sums.data());
  for (size_t t = 0; t < 32; ++t) EXPECT_EQ(sums[t], t < 16 ? 120 : 0);
}

__global__ void shuffle_where_even(int* to) {
  const int t = static_cast<int>(threadIdx.x);
  if (t % 2 == 0) to[t] = __shfl_xor_sync(kAll, t, 2);
}

__global__ void meet_in_different_operations(int* to) {
  const int t = static_cast<int>(threadIdx.x);
  to[t] = t < 16 ? __shfl_sync(kAll, t, 0) : static_cast<int>(__ballot_sync(kAll, true));
}

__global__ void shuffle_outside_the_mask(int* to) { to[threadIdx.x] = __shfl_sync(0x0000ffffu, 1, 0); }

TEST(Block, WhatADeviceLeavesUndefinedIsAnError) {
  std::vector<int> to(32);
  EXPECT_THROW(run_block(32, 0, shuffle_where_even, to.data()), std::logic_error);
  EXPECT_THROW(run_block(32, 0, meet_in_different_operations, to.data()), std::logic_error);
  EXPECT_THROW(run_block(32, 0, shuffle_outside_the_mask, to.data()), std::logic_error);
  EXPECT_THROW(__syncthreads(), std::logic_error);
}

/// Each thread hands its number on through shared memory, with a barrier before and after or without.
__global__ void pass_on(int* to, int rounds, bool with_barriers) {
  int* slots = shared_memory<int>();
  const auto t = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
  int mine = t;
  for (int i = 0; i < rounds; ++i) {
    slots[t] = mine;
    if (with_barriers) __syncthreads();
    mine = slots[(t + 1) % n];
    if (with_barriers) __syncthreads();
  }
  to[t] = mine;
}

TEST(Block, BarriersOrderWhatThreadsSee) {
  constexpr int kThreads = 96, kRounds = 40;
  std::vector<int> to(kThreads);
  run_block(kThreads, kThreads * sizeof(int), pass_on, to.data(), kRounds, true);
  for (int t = 0; t < kThreads; ++t) EXPECT_EQ(to[static_cast<size_t>(t)], (t + kRounds) % kThreads);
  // A missing barrier shows: the block gives something else.
  const std::vector<int> right = to;
  run_block(kThreads, kThreads * sizeof(int), pass_on, to.data(), kRounds, false);
  EXPECT_NE(to, right);
}

__global__ void some_leave_early(int* to) {
  if (threadIdx.x >= 40) return;
  __syncthreads();
  to[threadIdx.x] = 1;
}

TEST(Block, ABarrierDoesNotWaitForThreadsThatHaveEnded) {
  std::vector<int> to(64);
  run_block(64, 0, some_leave_early, to.data());
  EXPECT_EQ(std::accumulate(to.begin(), to.end(), 0), 40);
}

__global__ void read_shared(float* to) { to[threadIdx.x] = shared_memory<float>()[threadIdx.x]; }

TEST(Block, SharedMemoryBeginsAsNans) {
  std::vector<float> to(32);
  run_block(32, 32 * sizeof(float), read_shared, to.data());
  for (const float x : to) EXPECT_TRUE(std::isnan(x));
}

/// One thread brings three pieces of 16 bytes and a piece of zeros; seen: the first word of each piece after
/// two copies were waited for, and after all.
__global__ void copy_late(const float* from, float* seen) {
  float* to = shared_memory<float>();
  for (int i = 0; i < 16; ++i) to[i] = -1;
  for (int i = 0; i < 4; ++i) {
    ptx::copy_async(to + 4 * i, from + 4 * i, i != 1);
    ptx::commit_copies();
  }
  for (int i = 0; i < 4; ++i) seen[i] = to[4 * i];
  ptx::wait_copies<2>();
  for (int i = 0; i < 4; ++i) seen[4 + i] = to[4 * i];
  ptx::wait_copies<0>();
  for (int i = 0; i < 4; ++i) seen[8 + i] = to[4 * i];
}

TEST(Block, CopiesAreThereWhenTheyWereWaitedFor) {
  alignas(16) float from[16];
  std::iota(from, from + 16, 1.0f);
  std::vector<float> seen(12);
  run_block(1, 64, copy_late, static_cast<const float*>(from), seen.data());
  EXPECT_EQ(seen, (std::vector<float>{-1, -1, -1, -1, 1, 0, -1, -1, 1, 0, 9, 13}));
}

__global__ void write_at(std::byte* to, int64_t at) { to[at] = std::byte{1}; }
__global__ void write_shared_at(int64_t at) { shared_memory<std::byte>()[at] = std::byte{1}; }

TEST(BlockDeathTest, WritesOutsideMemoryEndTheProcess) {
  const Buffer memory = allocate(4096);
  run_block(1, 0, write_at, memory.get(), 4095);
  EXPECT_DEATH(run_block(1, 0, write_at, memory.get(), 4096), "");
  run_block(1, 64, write_shared_at, 63);
  EXPECT_DEATH(run_block(1, 64, write_shared_at, 64), "");
}

__global__ void count_blocks(int* counts, int* all) {
  atomicAdd(all, 1);
  if (threadIdx.x == 0) ++counts[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x];
}

TEST(Block, EachBlockOfAGridRunsOnce) {
  std::vector<int> counts(24);
  int all = 0;
  launch(Stream{}, dim3(2, 3, 4), 40, 0, count_blocks, counts.data(), &all);
  EXPECT_EQ(counts, std::vector<int>(24, 1));
  EXPECT_EQ(all, 24 * 40);
}

/// d [16, 8] = c + a [16, 16] · b [16, 8] by one warp, operands gathered as the instruction wants them.
__global__ void multiply(float* d, const uint16_t* a, const uint16_t* b) {
  const uint32_t lane = threadIdx.x, row = lane / 4, pair = lane % 4 * 2;
  const auto two = [](uint16_t low, uint16_t high) { return low | uint32_t{high} << 16; };
  uint32_t of_a[4], of_b[2];
  for (uint32_t i = 0; i < 4; ++i) {
    const uint16_t* at = a + (row + i % 2 * 8) * 16 + i / 2 * 8 + pair;
    of_a[i] = two(at[0], at[1]);
  }
  for (uint32_t i = 0; i < 2; ++i)
    of_b[i] = two(b[(i * 8 + pair) * 8 + row], b[(i * 8 + pair + 1) * 8 + row]);
  float sums[4];
  for (uint32_t i = 0; i < 4; ++i) sums[i] = d[(row + i / 2 * 8) * 8 + pair + i % 2];
  ptx::mma_bf16(sums, of_a, of_b);
  for (uint32_t i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + pair + i % 2] = sums[i];
}

TEST(Instructions, MmaIsTheProduct) {
  const std::vector<uint16_t> a = random_bf16(16 * 16, 1), b = random_bf16(16 * 8, 2);
  std::vector<float> d(16 * 8);
  for (size_t i = 0; i < d.size(); ++i) d[i] = static_cast<float>(i) / 16;
  const std::vector<float> c = d;
  run_block(32, 0, multiply, d.data(), a.data(), b.data());
  for (size_t r = 0; r < 16; ++r) {
    for (size_t n = 0; n < 8; ++n) {
      double sum = c[r * 8 + n], size = std::fabs(sum);
      for (size_t k = 0; k < 16; ++k) {
        const double term = double{from_bf16(a[r * 16 + k])} * from_bf16(b[k * 8 + n]);
        sum += term;
        size += std::fabs(term);
      }
      EXPECT_NEAR(d[r * 8 + n], sum, 16 * 0x1p-24 * size);  // sixteen sums, each rounded; products are exact
    }
  }
}

__global__ void load_both_ways(const uint16_t* from, uint32_t* plain, uint32_t* transposed) {
  auto* shared = shared_memory<uint16_t>();
  const uint32_t lane = threadIdx.x;
  for (uint32_t i = lane; i < 4 * 64; i += 32) shared[i] = from[i];
  __syncthreads();
  uint32_t to[4];
  ptx::load_matrices(to, shared + lane * 8);
  for (uint32_t i = 0; i < 4; ++i) plain[lane * 4 + i] = to[i];
  ptx::load_matrices_transposed(to, shared + lane * 8);
  for (uint32_t i = 0; i < 4; ++i) transposed[lane * 4 + i] = to[i];
}

TEST(Instructions, MatricesAreLoadedAsFragmentsAlsoTransposed) {
  std::vector<uint16_t> from(4 * 64);
  std::iota(from.begin(), from.end(), uint16_t{0});
  std::vector<uint32_t> plain(128), transposed(128);
  run_block(32, 512, load_both_ways, static_cast<const uint16_t*>(from.data()), plain.data(),
            transposed.data());
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t i = 0; i < 4; ++i) {
      const auto at = [&](uint32_t r, uint32_t c) { return uint32_t{from[i * 64 + r * 8 + c]}; };
      const uint32_t row = lane / 4, pair = lane % 4 * 2;
      EXPECT_EQ(plain[lane * 4 + i], at(row, pair) | at(row, pair + 1) << 16);
      EXPECT_EQ(transposed[lane * 4 + i], at(pair, row) | at(pair + 1, row) << 16);
    }
  }
}

}  // namespace
}  // namespace lapidary::cuda
