#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "configs/model/image_words.h"

/// The two passes of resize_bicubic, portable and with AVX2. Sums are exact in 32-bit integers, so every way
/// of adding them up gives the same bits.
namespace lapidary {

/// A byte times such a weight, and the overshoot of a cubic on top, still fit 32 bits.
constexpr int kWeightBits = 22;

/// Which input samples make one output sample, and with what weights.
struct Taps {
  int first = 0;  ///< index of the first input sample
  int count = 0;  ///< how many, at least one
  size_t at = 0;  ///< where its weights begin in `values`
};

/// The weights of one axis in units of 2^-22; every output sample's are padded with zeros to a multiple of
/// four.
struct ResizeWeights {
  std::vector<Taps> taps;       // [out]
  std::vector<int32_t> values;  // [sum of padded counts]
  /// The same for multipliers of 16 bits: of every four weights w the parts w & 0x7fff, then the parts w
  /// >> 15.
  std::vector<int16_t> halves;  // [2 * values]
};

ResizeWeights bicubic_weights(int in, int out, ImageProcessor like);

/// Whether Pillow resizes the columns first. Rounding to bytes between the passes makes their order visible,
/// and Pillow 13 turned it for pictures that lose far more rows than columns (12 and older always began with
/// the rows).
bool columns_first(int from_width, int from_height, int width, int height);

/// How many bytes beyond the end of its row a horizontal pass may read.
constexpr size_t kReadAhead = 16;

struct ResizeKernel {
  /// A row of weights.taps.size() RGB pixels from a row of RGB pixels with kReadAhead readable bytes behind
  /// it.
  void (*horizontal)(uint8_t* out, const uint8_t* in, const ResizeWeights& weights);
  /// A row of `bytes` bytes from taps.count rows that lie `bytes` bytes apart, row 0 of the picture at `in`.
  void (*vertical)(uint8_t* out, const uint8_t* in, size_t bytes, const ResizeWeights& weights,
                   const Taps& taps);
};

ResizeKernel portable_resize();

/// The AVX2 passes where the processor has them, otherwise the portable ones.
ResizeKernel best_resize();

/// The bytes [begin, bytes) of a vertical pass: also how the AVX2 pass ends its rows.
void vertical_from(size_t begin, uint8_t* out, const uint8_t* in, size_t bytes, const ResizeWeights& weights,
                   const Taps& taps);

}  // namespace lapidary
