#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

// What matmul() starts: plain arguments, no checks beyond what a kernel can't do. All memory is the device's.

namespace lapidary::cuda {

/// Pieces of a leaf begin at multiples of this many of its columns.
constexpr int kPieceStep = 256;

// How a leaf is cut is part of the order of its sum: it follows from the leaf's length and from nothing else,
// not from the rows, the ranks or the device. What is free is whether pieces are blocks of their own. Short
// leaves have short pieces, for their products have few channels, too: 28B's qkv of TP 8 is 16 tiles of 64
// channels by 4608 columns, its o of TP 8 72 tiles by 512. In pieces of up to 1024 columns they were 80 and
// 72 blocks for the 132 multiprocessors of an H200; in pieces of 512 and of 256 they are 144 each. What that
// costs: pieces that are blocks write 4 bytes an output and row and the last block reads them, in the second
// cache, where the weight's share of a piece is 2 bytes a column from memory: 8 of 1024 bytes a row for
// pieces of 512 columns, 6 % at 8 rows. So products that fill the device by their tiles are not cut, and long
// leaves, which always give pieces enough, keep long pieces.
constexpr int longest_piece(int n) { return n <= 5 * kPieceStep ? kPieceStep : n <= 5120 ? 512 : 1024; }

/// Pieces of a leaf of n columns: near-equal runs of kPieceStep.
constexpr int pieces_of(int n) {
  return n <= longest_piece(n) ? 1 : (n + longest_piece(n) - 1) / longest_piece(n);
}
/// Where piece p of `pieces` begins.
constexpr int piece_begin(int n, int pieces, int p) {
  const int steps = (n + kPieceStep - 1) / kPieceStep;
  const int begin = p * steps / pieces * kPieceStep;
  return begin < n ? begin : n;
}

/// A SumPlan as kernels take it, by value. A unit is what one block sums by itself: a leaf, or a piece of
/// one; units are added as leaves are (SumPlan).
struct SumUnits {
  static constexpr int kMax = 64;
  int count = 0;
  int cuts[kMax + 1] = {};    // columns, ascending
  uint8_t merges[kMax] = {};  // after each unit
  bool are_pieces = false;

  constexpr int columns(int unit) const { return cuts[unit + 1] - cuts[unit]; }
  /// Pieces that the block of a unit adds up.
  constexpr int pieces(int unit) const { return are_pieces ? 1 : pieces_of(columns(unit)); }
};

/// Throws std::logic_error for a plan that can't be, or of more than kMax leaves.
SumUnits units_of(const SumPlan& sums, int64_t in);
/// The leaves' pieces as units: those of a leaf are added from left to right, then the leaves as they were.
/// The leaves themselves where the pieces are more than kMax.
SumUnits split_into_pieces(const SumUnits& leaves);

/// One product as the kernels take it, by value.
struct ProductArgs {
  const std::byte* w = nullptr;  // [out, in]
  int64_t w_pitch = 0;           // bytes, a multiple of 16
  DType w_dtype = DType::bf16;
  const float* scales = nullptr;  // [out] of an e4m3 weight
  const void* x = nullptr;        // [rows, in]
  int64_t x_stride = 0;
  DType x_dtype = DType::bf16;
  bool x_vector = false;  // rows of x can be read 8 elements at a time from any multiple of 8 to a unit's end
  void* y = nullptr;      // [rows, out] of output 0
  int64_t y_stride = 0, y_output = 0;  // elements to the next row, to the next output
  DType y_dtype = DType::f32;
  Epilogue end;
  bool gated = false;   // y has half as many columns: gelu of a run of kGateRun times the next run
  int64_t columns = 0;  // of y
  int64_t rows = 0, out = 0;
  float* partials = nullptr;  // [units, rows, partial_pitch]: each unit's sums; null: one unit, straight to y
  int64_t partial_pitch = 0;  // a multiple of 4, at least out
};

/// Rows of the skinny kernel, at most; with unaligned cuts (skinny_product).
constexpr int kSkinnyRows = 64;
constexpr int kUnalignedRows = 8;
/// Channels that a block of the skinny kernel computes for so many rows, and how many such blocks a
/// multiprocessor wants, so that the memory is never idle.
int skinny_channels(int64_t rows);
int skinny_blocks(int64_t rows);
/// The units of a product of few rows: the leaves, or their pieces where those would leave a device of so
/// many multiprocessors idle.
SumUnits skinny_units(const SumUnits& leaves, int64_t out, int64_t rows, int multiprocessors);

/// Weights stream from memory. w bf16 or e4m3, x of any layout. `aligned`: all inner cuts are multiples of 16
/// bytes. Where units are added up: by the last block of each tile of channels if `tickets` is given (zeros,
/// one a tile; they are zeros afterwards), else nowhere: merge_units() is next.
void skinny_product(Stream stream, const ProductArgs& product, const SumUnits& units, bool aligned,
                    uint32_t* tickets);
/// Whether the last block's shared memory holds the units' sums.
bool skinny_can_merge(int64_t rows, int units);

/// w bf16 or e4m3; x is bf16 and x_vector; all inner cuts are multiples of 16 bytes.
void tiled_product(Stream stream, const ProductArgs& product, const SumUnits& units);
constexpr int kTileSide = 128;  // rows and channels of a block

/// w f32, x of any layout.
void plain_product(Stream stream, const ProductArgs& product, const SumUnits& units);

/// Adds the partial sums of all units and writes y.
void merge_units(Stream stream, const ProductArgs& product, const SumUnits& units);

/// to [rows, pitch] = x rounded to bf16, zeros from x.cols() to pitch; pitch is a multiple of 8.
void round_rows(Stream stream, uint16_t* to, int64_t pitch, Tensor x);

/// Rows `from` [rows, to.brought()] (f32, f16 or bf16) become the rows `to`, of any dtype of weights. The
/// scales of an e4m3 one are given (`scaled`), or e4m3_scale() of each row, written.
void convert_rows(Stream stream, const WeightRows& to, Tensor from, bool scaled = false);

/// y [rows, cols] (f32 or bf16) *= of_row [rows] · of_col [cols].
void scale_rows(Stream stream, Tensor y, const float* of_row, const float* of_col);

}  // namespace lapidary::cuda
