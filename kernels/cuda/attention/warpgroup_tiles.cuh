#pragma once

#include <cuda_platform.h>
#include <warpgroup.h>

#include <cstdint>

#include "kernels/cuda/attention/attention_tiles.cuh"

// Tiles of rows in shared memory as the operands of a warpgroup's products. Both orders are read from the
// same bytes: rows as columns of the other operand (K-major: scores = queries · keysᵀ), rows as they are
// (MN-major: weights · values). A tile is made of words of 16 bytes, eight elements of a row.

namespace lapidary::cuda {

/// The descriptor of an operand: where it begins, the distances in bytes between its parts, what is done to
/// addresses.
__device__ __forceinline__ uint64_t describe(uint32_t address, int leading, int stride, int swizzle) {
  return uint64_t{(address & 0x3ffff) >> 4} | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(stride >> 4) << 32 | static_cast<uint64_t>(swizzle) << 62;
}
/// The same operand `bytes` further on.
__device__ __forceinline__ uint64_t moved(uint64_t descriptor, int bytes) {
  return descriptor + static_cast<uint64_t>(bytes >> 4);
}

/// Blocks of 64 columns; a row of a block is 128 bytes, whose words are swizzled: word w of row r lies at w ^
/// (r % 8). So eight words of a row, as they are copied, and eight rows of a word, as they are read, lie in
/// all banks. Begins at a multiple of 1024 bytes.
template <int kRows, int kColumns>
struct SwizzledTile {
  static constexpr int kWords = kColumns / 8, kAlignment = 1024;
  static constexpr int kRowBytes = 128, kBlockBytes = kRows * kRowBytes, kBytes = kColumns / 64 * kBlockBytes;
  static constexpr int kPeriod = 8;  // rows that many apart lie kRowBytes each apart
  static_assert(kColumns % 64 == 0 && kRows % 8 == 0);

  static constexpr int place(int row, int word) {
    return word / 8 * kBlockBytes + row * kRowBytes + (word % 8 ^ row % 8) * 16;
  }
  /// Columns [16 * step, 16 * step + 16) of all rows, and rows [16 * step, 16 * step + 16) of all columns,
  /// from what k_major(tile), mn_major(tile) gives.
  static constexpr int column_step(int step) { return step / 4 * kBlockBytes + step % 4 * 32; }
  static constexpr int row_step(int step) { return step * 16 * kRowBytes; }
  __device__ static uint64_t k_major(const void* tile) {
    return describe(ptx::shared_address(tile), 16, 8 * kRowBytes, 1);  // the first distance is not used
  }
  __device__ static uint64_t mn_major(const void* tile) {
    return describe(ptx::shared_address(tile), kBlockBytes, 8 * kRowBytes, 1);
  }
};

/// The same for columns that are no multiple of 64, as words of 16 bytes: a column of words is kRows of them,
/// so that eight rows' words, which are read at once, are 128 bytes in a row. The next column begins 16 bytes
/// late: so the words of a row, which are copied at once, lie in all banks, too.
template <int kRows, int kColumns>
struct WordTile {
  static constexpr int kWords = kColumns / 8, kAlignment = 16;
  static constexpr int kRowBytes = 16, kColumnBytes = kRows * kRowBytes + 16, kBytes = kWords * kColumnBytes;
  static constexpr int kPeriod = 1;
  static_assert(kColumns % 16 == 0 && kRows % 8 == 0);

  static constexpr int place(int row, int word) { return word * kColumnBytes + row * kRowBytes; }
  static constexpr int column_step(int step) { return step * 2 * kColumnBytes; }
  static constexpr int row_step(int step) { return step * 16 * kRowBytes; }
  __device__ static uint64_t k_major(const void* tile) {
    return describe(ptx::shared_address(tile), kColumnBytes, 8 * kRowBytes, 0);
  }
  __device__ static uint64_t mn_major(const void* tile) {
    return describe(ptx::shared_address(tile), 8 * kRowBytes, kColumnBytes, 0);
  }
};

/// Starts the copy of the keys or values [kPageKeys, row] of one page and head. Tokens behind the first
/// `tokens` become zeros: what lies there was never written; and so do columns behind the row's end.
template <class Tile, int kThreads>
__device__ __forceinline__ void copy_page(std::byte* tile, const std::byte* from, int row, int tokens) {
  constexpr int kAtOnce = kThreads / Tile::kWords / Tile::kPeriod * Tile::kPeriod;  // tokens
  const int first = static_cast<int>(threadIdx.x) / Tile::kWords,
            word = static_cast<int>(threadIdx.x) % Tile::kWords;
  if (first >= kAtOnce) return;
  const auto* source = reinterpret_cast<const uint16_t*>(from);
  const int end = word * 8 < row ? tokens : 0;
  std::byte* to = tile + Tile::place(first, word);
  LAPIDARY_UNROLL
  for (int token = 0; token < kPageKeys; token += kAtOnce) {
    if (kPageKeys % kAtOnce != 0 && first + token >= kPageKeys) break;
    const bool valid = first + token < end;
    ptx::copy_async(to + token * Tile::kRowBytes, source + (valid ? (first + token) * row + word * 8 : 0),
                    valid);
  }
}

}  // namespace lapidary::cuda
