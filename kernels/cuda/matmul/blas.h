#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>

#include "kernels/backend.h"
#include "kernels/cuda/matmul/gemm_choices.h"
#include "kernels/cuda/matmul/gemm_library.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// Rows of x as e4m3, a scale a row.
struct ScaledRows {
  Tensor rows;                    // e4m3 [rows, in]
  const float* scales = nullptr;  // [rows]
};

/// Products of many rows by NVIDIA's library, on one device. Not deterministic in the sense of MatmulMode:
/// the library chooses how a sum is formed by the number of rows. Its memory is taken at the start; products
/// wait for nothing.
class Blas {
 public:
  /// `cache`: folder of the choices that tune() makes (GemmChoices); empty: they are kept for this run.
  /// `multiprocessors`: that a product should fill, so that others find room; 0: all. Throws
  /// std::runtime_error where there is no library.
  explicit Blas(const std::filesystem::path& cache = {}, int multiprocessors = 0);
  /// With a library given, on a device of this name.
  Blas(std::unique_ptr<GemmLibrary> library, const std::filesystem::path& cache, const std::string& device,
       int multiprocessors = 0);
  Blas(const Blas&) = delete;

  /// y [rows, out], f32 or bf16 = x [rows, in] · wᵀ through the epilogue. x is bf16, its rows begin at
  /// multiples of 16 bytes; w is bf16 with one output; bias in device memory, or null. Throws
  /// std::logic_error for what doesn't fit, std::runtime_error where the library refuses. With a bias, y bf16
  /// takes a bias of at most kMaxBias elements, which is rounded to bf16.
  void gemm(Stream stream, Tensor y, Tensor x, const Matrix& w, const Epilogue& end = {});
  static constexpr int64_t kMaxBias = 1 << 19;

  /// The same of e4m3 operands, without an epilogue: scales a row and a channel multiply the sums, in the
  /// library or after it. false: the library has no such product, and nothing was done.
  bool gemm(Stream stream, Tensor y, const ScaledRows& x, const Matrix& w);

  /// Runs gemm() by each of the library's best few ways and remembers the fastest for so many rows, to the
  /// next of four steps an octave. y is overwritten. For the time before serving: it waits for the device.
  void tune(Stream stream, Tensor y, Tensor x, const Matrix& w, const Epilogue& end = {});
  void tune(Stream stream, Tensor y, const ScaledRows& x, const Matrix& w);
  /// Writes down what was tuned.
  void save() { choices_.save(); }

  /// Of the device, held.
  size_t bytes() const { return GemmLibrary::kWorkspace + kMaxBias * sizeof(uint16_t); }

 private:
  GemmCall call_of(Stream stream, Tensor y, Tensor x, const Matrix& w, const Epilogue& end);
  GemmCall call_of(Tensor y, const ScaledRows& x, const Matrix& w) const;
  bool run(Stream stream, const GemmCall& call);
  void tune(Stream stream, const GemmCall& call);

  std::unique_ptr<GemmLibrary> library_;
  const int multiprocessors_;
  GemmChoices choices_;
  Buffer workspace_, rounded_bias_;
  bool takes_scales_ = true;  // the library multiplies by scales of rows and channels itself
};

/// Shapes that gemm() takes; throws std::logic_error for others.
void check_gemm(Tensor y, Tensor x, const Matrix& w, const Epilogue& end);

}  // namespace lapidary::cuda
