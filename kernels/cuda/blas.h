#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// What a product does to its elements at last: nothing, or gelu (tanh form) after the bias.
enum class Epilogue { none, gelu };

/// Products of many rows by NVIDIA's library, on one device. Not deterministic in the sense of MatmulMode:
/// the library chooses how a sum is formed by the number of rows.
class Blas {
 public:
  /// `choices`: a file where tune() keeps what it found, for this device and this version of the library; one
  /// of another device or version, or that can't be read, is made anew. Empty: none.
  explicit Blas(std::string choices = "");
  ~Blas();
  Blas(const Blas&) = delete;

  /// y [rows, out], f32 or bf16 = epilogue(x [rows, in] · wᵀ + bias [out]). x is bf16, its rows begin at
  /// multiples of 16 bytes; w is bf16 with one output; bias in device memory, or null. Throws
  /// std::logic_error for what doesn't fit, std::runtime_error where the library refuses. With a bias, y bf16
  /// takes a bias of at most kMostBias elements, which is rounded to bf16.
  void gemm(Stream stream, Tensor y, Tensor x, const Matrix& w, const float* bias,
            Epilogue epilogue = Epilogue::none);
  static constexpr int64_t kMostBias = 1 << 19;

  /// Runs gemm() by each of the library's best few ways and remembers the fastest for so many rows, to the
  /// next of four steps an octave. y is overwritten. For the time before serving: it waits for the device.
  void tune(Stream stream, Tensor y, Tensor x, const Matrix& w, const float* bias,
            Epilogue epilogue = Epilogue::none);

  /// A bias whose bf16 form is kept, so that gemm() need not round it each time. It must not change after.
  void keep_bias(Stream stream, const float* bias, int64_t size);

  /// Of the device, held.
  size_t bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Shapes that gemm() takes; throws std::logic_error for others.
void check_gemm(Tensor y, Tensor x, const Matrix& w, const float* bias);

}  // namespace lapidary::cuda
