#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/tensor.h"

// What matmul() starts: plain arguments, no checks beyond what a kernel can't do. All memory is the device's.

namespace lapidary::cuda {

/// Pieces of a leaf begin at multiples of this many of its columns…
constexpr int kPieceStep = 256;
/// … and are no longer than this.
constexpr int kLongestPiece = 1024;

/// Pieces of a leaf of n columns: near-equal runs of kPieceStep.
constexpr int pieces_of(int n) { return n <= kLongestPiece ? 1 : (n + kLongestPiece - 1) / kLongestPiece; }
/// Where piece p of `pieces` begins.
constexpr int piece_begin(int n, int pieces, int p) {
  const int steps = (n + kPieceStep - 1) / kPieceStep;
  const int begin = p * steps / pieces * kPieceStep;
  return begin < n ? begin : n;
}

/// A SumPlan as kernels take it, by value. A unit is what one block sums by itself: a leaf, or a piece of the
/// only leaf; units are added as leaves are (SumPlan).
struct SumUnits {
  static constexpr int kMost = 64;
  int count = 0;
  int cuts[kMost + 1] = {};    // columns, ascending
  uint8_t merges[kMost] = {};  // after each unit
};

/// Throws std::logic_error for a plan that can't be, or of more than kMost leaves.
SumUnits units_of(const SumPlan& sums, int64_t in);
/// The pieces of a plan of one leaf, added from left to right. At most kMost.
SumUnits split_into_pieces(const SumUnits& whole);

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
/// Channels that a block of the skinny kernel computes for so many rows, and how many such blocks fill a
/// multiprocessor.
int skinny_channels(int64_t rows);
int skinny_blocks(int64_t rows);

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

/// Rows `from` [rows, cols] (f32, f16 or bf16) become the rows `to`, of any dtype of weights. The scales of
/// an e4m3 one are given (`scaled`), or e4m3_scale() of each row, written.
void convert_rows(Stream stream, const WeightRows& to, Tensor from, bool scaled = false);

/// y [rows, cols] (f32 or bf16) *= of_row [rows] · of_col [cols].
void scale_rows(Stream stream, Tensor y, const float* of_row, const float* of_col);

}  // namespace lapidary::cuda
