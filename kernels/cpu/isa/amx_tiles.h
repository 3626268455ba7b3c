#pragma once

#include <cstdint>

namespace lapidary::cpu {
namespace {  // internal linkage: see vec_avx512.h

/// The eight tile registers of the machine: 16 rows of 64 bytes each. Every AMX instruction of the program
/// stands here; a kernel is a template over this class, so that it also runs on one that only computes the
/// same.
struct AmxTiles {
  /// All eight tiles 16 x 64 bytes, contents zero.
  static void configure() {
    struct alignas(64) Config {
      uint8_t palette = 1;
      uint8_t start_row = 0;
      uint8_t reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };
    const Config config;
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  static void release() { asm volatile("tilerelease"); }

  template <int kTile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  /// Row i of the tile = 64 bytes at base + i * stride.
  template <int kTile>
  static void load(const void* base, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(base), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void store(void* base, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(base), "r"(stride), "i"(kTile) : "memory");
  }
  /// c[m][n] += sum over k of the pair products a[m][2k, 2k+1] · b[k][2n, 2n+1]
  template <int kC, int kA, int kB>
  static void dot_bf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
  }
};

}  // namespace
}  // namespace lapidary::cpu
