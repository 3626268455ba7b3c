#include <cuda_platform.h>

#include "kernels/cuda/matmul/matmul_kernels.h"

// Rows of a checkpoint on their way into a weight of another dtype.

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRun = 8;  // numbers that a thread reads and writes at a time

struct RowArgs {
  WeightRows to;  // [n, cols]
  Tensor from;    // [n, to.brought()]
  bool scaled;    // scales of e4m3 are given, else they are written
  bool in_runs;   // every run of kRun numbers, of either side, lies at a multiple of what it is long
};

__device__ float read(const RowArgs& a, int64_t at) {
  if (a.from.dtype == DType::f32) return static_cast<const float*>(a.from.data)[at];
  const uint16_t bits = static_cast<const uint16_t*>(a.from.data)[at];
  return a.from.dtype == DType::f16 ? from_f16(bits) : from_bf16(bits);
}

/// Numbers k… of a row as they are before they are scaled; zeros behind the last.
__device__ void read_run(float (&x)[kRun], const RowArgs& a, int64_t row, int64_t k) {
  const int64_t at = row * a.from.stride + k, left = a.from.shape[1] - k;
  if (!a.in_runs || left < kRun) {
#pragma unroll
    for (int i = 0; i < kRun; ++i) x[i] = i < left ? read(a, at + i) : 0;
  } else if (a.from.dtype == DType::f32) {
    const auto* quads = reinterpret_cast<const float4*>(static_cast<const float*>(a.from.data) + at);
    const float4 low = quads[0], high = quads[1];
    const float given[kRun] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int i = 0; i < kRun; ++i) x[i] = given[i];
  } else {
    const uint4 given = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(a.from.data) + at);
    const uint32_t pairs[kRun / 2] = {given.x, given.y, given.z, given.w};
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      const auto bits = static_cast<uint16_t>(pairs[i / 2] >> (i % 2 * 16));
      x[i] = a.from.dtype == DType::f16 ? from_f16(bits) : from_bf16(bits);
    }
  }
  if (a.to.rounded == DType::bf16)
#pragma unroll
    for (float& value : x) value = from_bf16(to_bf16(value));
}

/// The largest magnitude of the whole row, or a NaN if it has one; the same for all threads.
__device__ float largest(const RowArgs& a, int64_t row, float* of_warp) {
  const int thread = static_cast<int>(threadIdx.x);
  const auto larger = [](float x, float y) { return x != x || x > y ? x : y; };
  float row_max = 0;
  for (int64_t k = thread * kRun; k < a.from.shape[1]; k += kThreads * kRun) {
    float x[kRun];
    read_run(x, a, row, k);
#pragma unroll
    for (const float value : x) row_max = larger(fabsf(value), row_max);
  }
  for (int bits = 16; bits > 0; bits /= 2)
    row_max = larger(__shfl_xor_sync(0xffffffffu, row_max, bits), row_max);
  if (thread % 32 == 0) of_warp[thread / 32] = row_max;
  __syncthreads();
  for (int w = 0; w < kThreads / 32; ++w) row_max = larger(of_warp[w], row_max);
  return row_max;
}

/// Numbers k… of a row of the weight.
__device__ void write_run(const RowArgs& a, std::byte* to, int64_t k, const float (&x)[kRun]) {
  const DType dtype = a.to.dtype;
  const int count = a.to.cols - k < kRun ? static_cast<int>(a.to.cols - k) : kRun;
  if (!a.in_runs || count < kRun) {
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (i >= count) break;
      if (dtype == DType::f32) {
        reinterpret_cast<float*>(to)[k + i] = x[i];
      } else if (dtype == DType::bf16) {
        reinterpret_cast<uint16_t*>(to)[k + i] = to_bf16(x[i]);
      } else {
        reinterpret_cast<uint8_t*>(to)[k + i] = to_e4m3(x[i]);
      }
    }
  } else if (dtype == DType::f32) {
    auto* quads = reinterpret_cast<float4*>(reinterpret_cast<float*>(to) + k);
    quads[0] = make_float4(x[0], x[1], x[2], x[3]);
    quads[1] = make_float4(x[4], x[5], x[6], x[7]);
  } else if (dtype == DType::bf16) {
    uint32_t pairs[kRun / 2] = {};
#pragma unroll
    for (int i = 0; i < kRun; ++i) pairs[i / 2] |= uint32_t{to_bf16(x[i])} << (i % 2 * 16);
    *reinterpret_cast<uint4*>(reinterpret_cast<uint16_t*>(to) + k) =
        make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  } else {
    uint32_t words[2] = {};
#pragma unroll
    for (int i = 0; i < kRun; ++i) words[i / 4] |= uint32_t{to_e4m3(x[i])} << (i % 4 * 8);
    *reinterpret_cast<uint2*>(reinterpret_cast<uint8_t*>(to) + k) = make_uint2(words[0], words[1]);
  }
}

/// One block a row.
__global__ void __launch_bounds__(kThreads) convert_kernel(RowArgs a) {
  const int64_t row = blockIdx.x, place = a.to.place(row);
  const int thread = static_cast<int>(threadIdx.x);
  float per = 1;  // scales are powers of two: a product with the inverse is the quotient
  if (a.to.dtype == DType::e4m3) {
    const float scale = a.scaled ? a.to.scales[place] : e4m3_scale(largest(a, row, shared_memory<float>()));
    if (thread == 0 && !a.scaled) a.to.scales[place] = scale;
    per = 1 / scale;
  }
  for (int64_t k = thread * kRun; k < a.to.cols; k += kThreads * kRun) {
    float x[kRun];
    read_run(x, a, row, a.to.skip + k);
#pragma unroll
    for (float& value : x) value *= per;
    write_run(a, a.to.data + place * a.to.pitch, k, x);
  }
}

bool are_in_runs(const WeightRows& to, Tensor from) {
  const auto lies = [](const void* data, int64_t pitch) {
    return reinterpret_cast<uintptr_t>(data) % 16 == 0 && pitch % 16 == 0;
  };
  return to.skip % kRun == 0 && lies(to.data, to.pitch) &&
         lies(from.data, from.stride * static_cast<int64_t>(size_of(from.dtype)));
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
         convert_kernel, RowArgs{to, from, scaled, are_in_runs(to, from)});
}

}  // namespace lapidary::cuda
