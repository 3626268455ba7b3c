#include <cuda_platform.h>
#include <gtest/gtest.h>
#include <warpgroup.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/cuda_emulation/random_bf16.h"

// The emulation of a warpgroup's products: each layout of an operand in shared memory, filled here word by
// word as the PTX ISA draws it, gives the product of the matrices; and what a device would leave undefined is
// an error.

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 128;
constexpr size_t kShared = 64 << 10;

template <class... Parameters, class... Arguments>
void run_block(int threads, void (*kernel)(Parameters...), Arguments... arguments) {
  launch(Stream{}, dim3(1), threads, kShared, kernel, arguments...);
}

/// How a matrix [outer, 16] lies in shared memory: the word of eight elements (outer, inner / 8) or,
/// MN-major, (outer / 8, inner), in bytes from the begin.
struct Layout {
  const char* name;
  bool k_major;
  uint64_t descriptor;  // without the address
  std::function<size_t(size_t outer, size_t inner)> place;
};

uint64_t distances(uint64_t leading, uint64_t stride, uint64_t swizzle) {
  return leading / 16 << 16 | stride / 16 << 32 | swizzle << 62;
}

/// Rows of 16 * words bytes whose words are exchanged as the drawings of the swizzles have it: by the number
/// of the row within 128-byte lines.
size_t exchanged(size_t row, size_t word, size_t words) {
  const size_t rows_of_a_line = 8 / words;
  return row * words * 16 + (word ^ row / rows_of_a_line % words) * 16;
}

std::vector<Layout> layouts() {
  std::vector<Layout> all;
  // Words alone: eight rows of 16 bytes are a matrix; matrices 400 and 2064 bytes apart.
  all.push_back({"plain rows", true, distances(2064, 144, 0), [](size_t outer, size_t inner) {
                   return outer / 8 * 144 + outer % 8 * 16 + inner / 8 * 2064;
                 }});
  all.push_back({"plain columns", false, distances(144, 400, 0), [](size_t outer, size_t inner) {
                   return outer / 8 * 400 + inner % 8 * 16 + inner / 8 * 144;
                 }});
  for (const size_t words : {2, 4, 8}) {
    const uint64_t mode = words == 8 ? 1 : words == 4 ? 2 : 3;
    const size_t group = 8 * words * 16;  // eight rows
    all.push_back({"swizzled rows", true, distances(16, 2 * group, mode), [=](size_t outer, size_t inner) {
                     return outer / 8 * 2 * group + exchanged(outer % 8, inner / 8, words);
                   }});
    all.push_back(
        {"swizzled columns", false, distances(4 * group, group, mode), [=](size_t outer, size_t inner) {
           const size_t word = outer / 8;
           return word / words * 4 * group + inner / 8 * group + exchanged(inner % 8, word % words, words);
         }});
  }
  return all;
}

/// The bytes of a matrix [outer, 16] as it lies in shared memory.
std::vector<std::byte> laid_out(const Layout& layout, const std::vector<uint16_t>& matrix) {
  std::vector<std::byte> bytes(kShared / 2);
  for (size_t i = 0; i < matrix.size(); ++i) {
    const size_t outer = i / 16, inner = i % 16;
    const size_t at = layout.place(outer, inner) + (layout.k_major ? inner % 8 : outer % 8) * 2;
    std::memcpy(bytes.data() + at, &matrix[i], 2);
  }
  return bytes;
}

/// This lane's fragments of a [64, 16].
__device__ void fragments(uint32_t (&a)[4], const uint16_t* matrix) {
  const uint32_t t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4, pair = t % 4 * 2;
  for (uint32_t i = 0; i < 4; ++i) {
    const uint16_t* at = matrix + (row + i % 2 * 8) * 16 + i / 2 * 8 + pair;
    a[i] = at[0] | uint32_t{at[1]} << 16;
  }
}

template <int kTiles>
__device__ void write_sums(float* to, const float (&d)[kTiles][4]) {
  const uint32_t t = threadIdx.x, row = t / 32 * 16 + t % 32 / 4;
  for (uint32_t i = 0; i < 4 * kTiles; ++i)
    to[(row + i % 4 / 2 * 8) * 8 * kTiles + i / 4 * 8 + t % 4 * 2 + i % 2] = d[i / 4][i % 4];
}

__device__ void fill_shared(const std::byte* low, const std::byte* high) {
  auto* shared = shared_memory<std::byte>();
  for (size_t i = threadIdx.x; i < kShared / 2; i += blockDim.x) {
    shared[i] = low[i];
    if (high != nullptr) shared[kShared / 2 + i] = high[i];
  }
  ptx::fence_shared_writes();
  __syncthreads();
}

/// d [64, 8 * kTiles] = 2 a · bᵀ, in two products; a null: it is the one in shared memory.
template <int kTiles>
__global__ void multiply_matrices(float* to, const uint16_t* a, const std::byte* left, uint64_t of_left,
                                  const std::byte* right, uint64_t of_right, bool k_major) {
  fill_shared(right, left);
  auto* shared = shared_memory<std::byte>();
  uint32_t mine[4] = {};
  if (a != nullptr) fragments(mine, a);
  const uint64_t b = of_right | ptx::shared_address(shared) >> 4;
  float d[kTiles][4];
  for (auto& tile : d)
    for (float& x : tile) x = 0;
  ptx::fence_products();
  for (int i = 0; i < 2; ++i) {
    if constexpr (kTiles == 8) {
      ASSERT_TRUE(k_major);
      if (a != nullptr)
        ptx::multiply(d, mine, b, i > 0);
      else
        ptx::multiply(d, of_left | ptx::shared_address(shared + kShared / 2) >> 4, b, i > 0);
    } else {
      ASSERT_FALSE(k_major);
      ptx::multiply_rows(d, mine, b);
    }
  }
  ptx::commit_products();
  ptx::wait_products<0>();
  ptx::settle(d);
  write_sums(to, d);
}

template <int kTiles>
void check_product(const Layout& right, const Layout* left = nullptr) {
  SCOPED_TRACE(std::string(right.name) + ", " + std::to_string(8 * kTiles) + " columns");
  const std::vector<uint16_t> a = random_bf16(64 * 16, 1), b = random_bf16(8 * kTiles * 16, 2);
  const std::vector<std::byte> of_b = laid_out(right, b),
                               of_a = left != nullptr ? laid_out(*left, a) : std::vector<std::byte>();
  std::vector<float> d(64 * 8 * kTiles);
  run_block(kThreads, multiply_matrices<kTiles>, d.data(), left != nullptr ? nullptr : a.data(),
            left != nullptr ? of_a.data() : nullptr, left != nullptr ? left->descriptor : 0, of_b.data(),
            right.descriptor, right.k_major);
  for (size_t m = 0; m < 64; ++m)
    for (size_t n = 0; n < 8 * kTiles; ++n) {
      double sum = 0, size = 0;
      for (size_t k = 0; k < 16; ++k) {
        const double term = 2 * double{from_bf16(a[m * 16 + k])} * from_bf16(b[n * 16 + k]);
        sum += term;
        size += std::fabs(term);
      }
      // Products are exact, each of 32 sums is rounded.
      ASSERT_NEAR(d[m * 8 * kTiles + n], sum, 32 * 0x1p-24 * size) << m << ", " << n;
    }
}

TEST(Warpgroup, OperandsOfEveryLayoutGiveTheProduct) {
  for (const Layout& layout : layouts()) {
    if (layout.k_major) {
      check_product<8>(layout);
      check_product<8>(layout, &layout);
    } else {
      check_product<9>(layout);
      check_product<16>(layout);
      check_product<32>(layout);
    }
    if (HasFatalFailure()) return;
  }
}

TEST(Warpgroup, AnotherDescriptorGivesSomethingElse) {
  for (const Layout& layout : layouts()) {
    // Distances exchanged, or a different swizzle.
    Layout wrong = layout;
    wrong.descriptor = layout.descriptor ^ uint64_t { 1 } << 62;
    const std::vector<uint16_t> a = random_bf16(64 * 16, 1), b = random_bf16(128 * 16, 2);
    const std::vector<std::byte> of_b = laid_out(layout, b);
    std::vector<float> right(64 * 128), other(64 * 128);
    const auto product = [&](const Layout& as, std::vector<float>& to) {
      auto* kernel = layout.k_major ? multiply_matrices<8> : multiply_matrices<16>;
      run_block(kThreads, kernel, to.data(), a.data(), static_cast<const std::byte*>(nullptr), uint64_t{0},
                of_b.data(), as.descriptor, layout.k_major);
    };
    product(layout, right);
    product(wrong, other);
    EXPECT_NE(right, other) << layout.name;
  }
}

enum class Mistake { none, no_fence, no_wait, early_read, changed, alone, unseen, left, outside };

__global__ void multiply_wrongly(float* to, const std::byte* from, Mistake mistake) {
  const auto is = [&](Mistake one) { return mistake == one; };
  fill_shared(from, nullptr);
  auto* shared = shared_memory<std::byte>();
  if (is(Mistake::alone) && threadIdx.x >= 96) return;
  if (is(Mistake::unseen)) {
    ptx::copy_async(shared + threadIdx.x * 16, from + threadIdx.x * 16);
    ptx::commit_copies();
    ptx::wait_copies<0>();
    __syncthreads();
  }
  float d[8][4] = {};
  const uint32_t a[4] = {};
  if (!is(Mistake::no_fence)) ptx::fence_products();
  const uint64_t at = is(Mistake::outside) ? kShared : 0;
  ptx::multiply(d, a, distances(128, 256, 0) | (ptx::shared_address(shared) + at) >> 4, true);
  if (is(Mistake::early_read)) to[threadIdx.x] = d[0][0];
  if (is(Mistake::changed)) shared[threadIdx.x * 16] ^= std::byte{1};
  ptx::commit_products();
  if (is(Mistake::left)) return;
  if (is(Mistake::no_wait))
    ptx::wait_products<1>();
  else
    ptx::wait_products<0>();
  ptx::settle(d);
  if (!is(Mistake::early_read)) to[threadIdx.x] = d[0][0];
}

TEST(Warpgroup, WhatADeviceLeavesUndefinedIsAnError) {
  const std::vector<std::byte> zeros(kShared);
  std::vector<float> to(kThreads, -1);
  const auto run = [&](Mistake mistake) {
    run_block(kThreads, multiply_wrongly, to.data(), zeros.data(), mistake);
  };
  run(Mistake::none);
  EXPECT_EQ(to, std::vector<float>(kThreads, 0));
  for (const Mistake mistake : {Mistake::no_fence, Mistake::no_wait, Mistake::changed, Mistake::alone,
                                Mistake::unseen, Mistake::left, Mistake::outside})
    EXPECT_THROW(run(mistake), std::logic_error) << static_cast<int>(mistake);
  run(Mistake::early_read);  // sums under way are nobody's
  for (const float x : to) EXPECT_TRUE(std::isnan(x));
}

}  // namespace
}  // namespace lapidary::cuda
