#include <cuda_platform.h>

#include "kernels/cuda/matmul_kernels.h"

// Rows of a checkpoint on their way into a weight of another dtype.

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256;

struct RowArgs {
  WeightRows to;     // [n, in]
  bool scaled;       // scales of e4m3 are given, else they are written
  const void* from;  // [n, in]
  int64_t from_stride;
  DType from_dtype;
  int64_t in;
};

__device__ float read(const RowArgs& a, int64_t row, int64_t k) {
  const int64_t at = row * a.from_stride + k;
  if (a.from_dtype == DType::f32) return static_cast<const float*>(a.from)[at];
  const uint16_t bits = static_cast<const uint16_t*>(a.from)[at];
  return a.from_dtype == DType::f16 ? from_f16(bits) : from_bf16(bits);
}

/// The largest magnitude of the row, or a NaN if it has one; the same for all threads.
__device__ float largest(const RowArgs& a, int64_t row, float* of_warp) {
  const int thread = static_cast<int>(threadIdx.x);
  const auto larger = [](float x, float y) { return x != x || x > y ? x : y; };
  float most = 0;
  for (int64_t k = thread; k < a.in; k += kThreads) most = larger(fabsf(read(a, row, k)), most);
  for (int bits = 16; bits > 0; bits /= 2) most = larger(__shfl_xor_sync(0xffffffffu, most, bits), most);
  if (thread % 32 == 0) of_warp[thread / 32] = most;
  __syncthreads();
  for (int w = 0; w < kThreads / 32; ++w) most = larger(of_warp[w], most);
  return most;
}

/// One block a row.
__global__ void __launch_bounds__(kThreads) convert_kernel(RowArgs a) {
  const int64_t row = blockIdx.x, place = a.to.place(row);
  const int thread = static_cast<int>(threadIdx.x);
  const DType dtype = a.to.dtype;
  float scale = 1;
  if (dtype == DType::e4m3) {
    scale = a.scaled ? a.to.scales[place] : e4m3_scale(largest(a, row, shared_memory<float>()));
    if (thread == 0 && !a.scaled) a.to.scales[place] = scale;
  }
  std::byte* to = a.to.data + place * a.to.pitch;
  for (int64_t k = thread; k < a.in; k += kThreads) {
    const float value = read(a, row, k);
    if (dtype == DType::f32) {
      reinterpret_cast<float*>(to)[k] = value;
    } else if (dtype == DType::bf16) {
      reinterpret_cast<uint16_t*>(to)[k] = to_bf16(value);
    } else {
      reinterpret_cast<uint8_t*>(to)[k] = to_e4m3(value / scale);
    }
  }
}

/// y [rows, cols] *= of_row [rows] times of_col [cols]. One block a row.
__global__ void __launch_bounds__(kThreads) scale_kernel(Tensor y, const float* of_row, const float* of_col) {
  const int64_t row = blockIdx.x;
  for (int64_t c = threadIdx.x; c < y.shape[1]; c += kThreads) {
    const float scale = of_row[row] * of_col[c];
    if (y.dtype == DType::f32) {
      float& at = static_cast<float*>(y.data)[row * y.stride + c];
      at *= scale;
    } else {
      uint16_t& at = static_cast<uint16_t*>(y.data)[row * y.stride + c];
      at = to_bf16(from_bf16(at) * scale);
    }
  }
}

}  // namespace

void scale_rows(Stream stream, Tensor y, const float* of_row, const float* of_col) {
  if (y.rows() == 0) return;
  launch(stream, dim3(static_cast<unsigned>(y.rows())), kThreads, 0, scale_kernel, y, of_row, of_col);
}

void convert_rows(Stream stream, const WeightRows& to, Tensor from, bool scaled) {
  if (from.rows() == 0) return;
  launch(stream, dim3(static_cast<unsigned>(from.rows())), kThreads, kThreads / 32 * sizeof(float),
         convert_kernel, RowArgs{to, scaled, from.data, from.stride, from.dtype, from.cols()});
}

}  // namespace lapidary::cuda
