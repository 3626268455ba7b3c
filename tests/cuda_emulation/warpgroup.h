#pragma once

#include <cuda_platform.h>

#include <cstdint>
#include <string>
#include <utility>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/products.h"

// Matrix products of a warpgroup, on the host: the twin of kernels/cuda/gpu/warpgroup.h. A warp's part of a
// product needs no other warp: they meet nowhere, but must do the same things in the same order (products.h).

namespace lapidary::cuda::ptx {

inline emulation::Products& products() { return emulation::Block::current().products(); }
inline int this_thread() { return emulation::Block::current().thread(); }

inline uint32_t shared_address(const void* shared) { return emulation::shared_address(shared); }
inline void fence_shared_writes() { products().fence_shared(this_thread()); }
inline void fence_products() { products().fence(this_thread()); }
inline void commit_products() { products().commit(this_thread()); }
template <int kLeft>
void wait_products() {
  products().wait(this_thread(), kLeft);
}
template <int kTiles>
void settle(float (&d)[kTiles][4]) {
  products().settle(this_thread(), d[0]);
}

/// Left operand of a warp, rows lane / 4 and lane / 4 + 8 of it, the lane's own two.
struct LeftRows {
  float x[2][16];
};

inline LeftRows left_rows(const uint32_t (&a)[4]) {
  const MmaOperands mine{{a[0], a[1], a[2], a[3]}, {}};
  const MmaOperands* all = emulation::Block::current().exchange("multiply", 0xffffffffu, mine);
  const uint32_t row = emulation::lane() / 4;
  LeftRows rows;
  for (uint32_t half = 0; half < 2; ++half)
    for (uint32_t k = 0; k < 16; ++k)
      rows.x[half][k] = bf16_half(all[row * 4 + k % 8 / 2].a[half + 2 * (k / 8)], k % 2);
  return rows;
}

/// d (+)= a · b. The order of additions is not a device's. `read`: addresses of the left operand's words.
template <int kTiles>
void multiply_warp(const std::string& operation, float (&d)[kTiles][4], const LeftRows& a, uint64_t b,
                   bool k_major, bool add, std::vector<uint32_t> read = {}) {
  const emulation::SharedOperand operand(b, k_major);
  const uint32_t lane = emulation::lane();
  emulation::Products::Product product{d[0], add, {}, std::move(read)};
  product.sums.resize(4 * kTiles);
  for (uint32_t n = 0; n < 2 * kTiles; ++n) {  // the lane's columns
    const uint32_t column = n / 2 * 8 + lane % 4 * 2 + n % 2;
    float sums[2] = {};
    for (uint32_t k = 0; k < 16; ++k) {
      const float x = from_bf16(emulation::read_shared(operand.address(column, k)));
      for (int half = 0; half < 2; ++half) sums[half] += a.x[half][k] * x;
    }
    for (uint32_t half = 0; half < 2; ++half) product.sums[n / 2 * 4 + 2 * half + n % 2] = sums[half];
  }
  // 16 words of each eight columns; each lane watches some of them.
  for (uint32_t word = lane; word < 16 * kTiles; word += 32)
    product.read.push_back(k_major ? operand.address(word / 2, word % 2 * 8)
                                   : operand.address(word / 16 * 8, word % 16));
  products().begin(this_thread(), operation + " " + std::to_string(8 * kTiles) + " " + std::to_string(b),
                   std::move(product));
}

inline void multiply(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b, bool add) {
  multiply_warp("multiply", d, left_rows(a), b, true, add);
}

inline void multiply(float (&d)[8][4], uint64_t a, uint64_t b, bool add) {
  const emulation::SharedOperand operand(a, true);
  const uint32_t lane = emulation::lane(), first = static_cast<uint32_t>(this_thread()) / 32 % 4 * 16;
  LeftRows rows;
  for (uint32_t half = 0; half < 2; ++half)
    for (uint32_t k = 0; k < 16; ++k)
      rows.x[half][k] = from_bf16(emulation::read_shared(operand.address(first + lane / 4 + 8 * half, k)));
  multiply_warp("multiply shared " + std::to_string(a), d, rows, b, true, add,
                {operand.address(first + lane / 2, lane % 2 * 8)});
}

template <int kTiles>
void multiply_rows(float (&d)[kTiles][4], const uint32_t (&a)[4], uint64_t b) {
  static_assert(kTiles == 9 || kTiles == 16 || kTiles == 32, "what the device's twin has");
  multiply_warp("multiply rows", d, left_rows(a), b, false, true);
}

}  // namespace lapidary::cuda::ptx
