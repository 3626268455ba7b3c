#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace lapidary::cpu {

/// AMX tiles in plain C++: the same interface as AmxTiles, so that the kernel of tile_amx.h runs on any
/// machine. The arithmetic is that of the instruction's definition (Intel's manual, TDPBF16PS): the even and
/// the odd products of a pair are each summed over k by fused multiply-adds, then both sums are added to c;
/// round to nearest even, numbers below the normal range count as zero. Each thread has its own tiles; using
/// them unconfigured throws.
struct SoftwareTiles {
  struct Tile {
    alignas(64) std::array<std::array<std::byte, 64>, 16> rows;
  };
  struct State {
    bool configured = false;
    std::array<Tile, 8> tiles;
  };
  static State& state() {
    thread_local State here;
    return here;
  }
  static Tile& tile(int index) {
    if (!state().configured) throw std::logic_error("a tile is used before it was configured");
    return state().tiles[static_cast<size_t>(index)];
  }

  static void configure() {
    state().configured = true;
    for (Tile& t : state().tiles) t = {};
  }
  static void release() { state() = {}; }

  template <int kTile>
  static void zero() {
    tile(kTile) = {};
  }
  template <int kTile>
  static void load(const void* base, int64_t stride) {
    Tile& t = tile(kTile);
    for (int64_t r = 0; r < 16; ++r)
      std::memcpy(t.rows[r].data(), static_cast<const std::byte*>(base) + r * stride, 64);
  }
  template <int kTile>
  static void store(void* base, int64_t stride) {
    const Tile& t = tile(kTile);
    for (int64_t r = 0; r < 16; ++r)
      std::memcpy(static_cast<std::byte*>(base) + r * stride, t.rows[r].data(), 64);
  }

  static float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }
  static float half(uint32_t pair, int which) {
    return flushed(std::bit_cast<float>(which == 0 ? pair << 16 : pair & 0xffff0000u));
  }

  template <int kC, int kA, int kB>
  static void dot_bf16() {
    Tile& c = tile(kC);
    std::array<std::array<uint32_t, 16>, 16> a, b;
    std::memcpy(&a, &tile(kA), sizeof a);
    std::memcpy(&b, &tile(kB), sizeof b);
    for (size_t m = 0; m < 16; ++m) {
      std::array<float, 16> sums;
      std::memcpy(sums.data(), c.rows[m].data(), sizeof sums);
      for (size_t n = 0; n < 16; ++n) {
        float even = 0, odd = 0;
        for (size_t k = 0; k < 16; ++k) {
          even = flushed(std::fma(half(a[m][k], 0), half(b[k][n], 0), even));
          odd = flushed(std::fma(half(a[m][k], 1), half(b[k][n], 1), odd));
        }
        sums[n] = flushed(flushed(sums[n]) + flushed(even + odd));
      }
      std::memcpy(c.rows[m].data(), sums.data(), sizeof sums);
    }
  }
};

}  // namespace lapidary::cpu
