#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// One product as NVIDIA's library is asked for it, all in device memory: y [rows, out] = x [rows, in] · wᵀ,
/// times the scales, then + bias, then gelu (tanh form), or + what y holds.
struct GemmCall {
  Tensor y;                         // f32 or bf16
  Tensor x;                         // bf16 or e4m3
  const std::byte* w = nullptr;     // [out, in] of x's dtype
  int64_t out = 0, w_stride = 0;    // elements from one row of w to the next
  const float* x_scales = nullptr;  // [rows], of e4m3; null: none
  const float* w_scales = nullptr;  // [out]; given where x_scales are
  const void* bias = nullptr;       // [out], of y's dtype; null: none
  bool gelu = false, add = false;
  int multiprocessors = 0;  // that it should fill; 0: all
};

/// One of the library's ways to compute a product; what the words mean is the library's.
struct Algorithm {
  std::array<uint64_t, 8> words{};
};

/// The calls of cuBLASLt that products need. kernels/cuda/gpu has the library's, tests/cuda_emulation loops
/// on the host. Nothing here allocates device memory or waits for the device, but time().
class GemmLibrary {
 public:
  static constexpr size_t kWorkspace = size_t{64} << 20;  // device memory that each product may use

  virtual ~GemmLibrary() = default;
  virtual std::string version() const = 0;  // "cublasLt 130100"
  /// Ways that the library takes to be fast, best first; none where it has no such product.
  virtual std::vector<Algorithm> candidates(const GemmCall& call, int max_count) = 0;
  /// false: the library refuses the algorithm for this call, and nothing was done.
  virtual bool run(Stream stream, const GemmCall& call, const Algorithm& algorithm, std::byte* workspace) = 0;
  /// Milliseconds of one run on the device; below 0 where the library refuses.
  virtual float time(Stream stream, const GemmCall& call, const Algorithm& algorithm,
                     std::byte* workspace) = 0;
};

/// Loads the library when it is first needed, so that a program built with CUDA starts without it. Throws
/// std::runtime_error with a sentence where there is none.
std::unique_ptr<GemmLibrary> load_gemm_library();

}  // namespace lapidary::cuda
