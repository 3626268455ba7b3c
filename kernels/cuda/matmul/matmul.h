#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/matmul/pack.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

class Blas;

/// Memory of matmul(), grown by reserve() only. One scratch serves one stream.
class MatmulScratch {
 public:
  /// `blas` may be null (the library is not used) and outlives the scratch.
  explicit MatmulScratch(MatmulMode mode = {}, Blas* blas = nullptr) : mode_(mode), blas_(blas) {}

  /// Enough for products of up to `rows` rows with inner and outer sizes up to `width`. Larger ones are done
  /// part by part, or refused where not even one row fits.
  void reserve(int64_t rows, int64_t width);
  /// While it is on, products of the library measure how to be computed; before serving.
  void tune(bool on) { tuning_ = on; }
  size_t bytes() const { return operand_bytes_ + partial_bytes_ + ticket_bytes_; }

 private:
  friend class MatmulRun;
  MatmulMode mode_;
  Blas* blas_;
  bool tuning_ = false;
  int multiprocessors_ = 0;
  Buffer operand_;   // rows of x as bf16, each padded to a multiple of 16 bytes
  Buffer partials_;  // float32 [units of the sum, rows, out]
  Buffer tickets_;   // uint32, one a tile of channels; zeros between products
  size_t operand_bytes_ = 0, partial_bytes_ = 0, ticket_bytes_ = 0;
};

/// Backend::matmul: y [w.sums.outputs() * rows, out], f32 or bf16; x [rows, in], f32 or bf16 (rounded to bf16
/// unless w is f32); the epilogue's bias in device memory.
/// `gated_scratch` given: the weight is gated (Backend::matmul_geglu), y its product.
///
/// The order of a sum: a leaf is cut into near-equal pieces of at most 256, 512 or 1024 columns, as its own
/// length says (matmul_kernels.h), a piece is a chain of
/// mma instructions over blocks of columns, the pieces of a leaf are added from left to right, the leaves as
/// the plan says. Few rows (up to 64) and many rows have kernels of their own, but both follow this order
/// with the same instructions and the weight in the same operand, so that a row has the same bits in either.
/// Only a scratch that is not deterministic and has a Blas gives many rows to the library; with an e4m3
/// weight each row of x is rounded to e4m3 for it, by a scale of its own, if the library has such products.
/// An f32 weight is summed column by column in each leaf. The scale of an e4m3 weight multiplies an output's
/// whole sum.
///
/// Throws std::logic_error for shapes that don't fit each other or the scratch.
void matmul(Stream stream, MatmulScratch& scratch, Tensor y, Tensor x, const Matrix& w,
            const Epilogue& end = {}, const Tensor* gated_scratch = nullptr);

}  // namespace lapidary::cuda
