#include <cuda_platform.h>

#include "kernels/cuda/matmul_kernels.h"

// Rows of a checkpoint on their way into a weight of another dtype.

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256;

struct RowArgs {
  std::byte* to;  // [n, in], `pitch` bytes apart
  int64_t pitch;
  DType dtype;
  float* scales;     // [n]
  const void* from;  // [n, in]
  DType from_dtype;
  int64_t in;
};

__device__ float read(const RowArgs& a, int64_t at) {
  return a.from_dtype == DType::f32 ? static_cast<const float*>(a.from)[at]
                                    : from_bf16(static_cast<const uint16_t*>(a.from)[at]);
}

/// The largest magnitude of the row, or a NaN if it has one; the same for all threads.
__device__ float largest(const RowArgs& a, int64_t row, float* of_warp) {
  const int thread = static_cast<int>(threadIdx.x);
  const auto larger = [](float x, float y) { return x != x || x > y ? x : y; };
  float most = 0;
  for (int64_t k = thread; k < a.in; k += kThreads) most = larger(fabsf(read(a, row * a.in + k)), most);
  for (int bits = 16; bits > 0; bits /= 2) most = larger(__shfl_xor_sync(0xffffffffu, most, bits), most);
  if (thread % 32 == 0) of_warp[thread / 32] = most;
  __syncthreads();
  for (int w = 0; w < kThreads / 32; ++w) most = larger(of_warp[w], most);
  return most;
}

/// One block a row.
__global__ void __launch_bounds__(kThreads) convert_kernel(RowArgs a) {
  const int64_t row = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  float scale = 1;
  if (a.dtype == DType::e4m3) {
    const float most = largest(a, row, shared_memory<float>());
    scale = most < 0x1p-100f ? 1 : most / 448;  // such a row is zeros
    if (thread == 0) a.scales[row] = scale;
  }
  std::byte* to = a.to + row * a.pitch;
  for (int64_t k = thread; k < a.in; k += kThreads) {
    const float value = read(a, row * a.in + k);
    if (a.dtype == DType::f32) {
      reinterpret_cast<float*>(to)[k] = value;
    } else if (a.dtype == DType::bf16) {
      reinterpret_cast<uint16_t*>(to)[k] = to_bf16(value);
    } else {
      reinterpret_cast<uint8_t*>(to)[k] = to_e4m3(value / scale);
    }
  }
}

}  // namespace

void convert_rows(Stream stream, std::byte* to, int64_t pitch, DType dtype, float* scales, Tensor from) {
  if (from.rows() == 0) return;
  launch(stream, dim3(static_cast<unsigned>(from.rows())), kThreads, kThreads / 32 * sizeof(float),
         convert_kernel, RowArgs{to, pitch, dtype, scales, from.data, from.dtype, from.cols()});
}

}  // namespace lapidary::cuda
