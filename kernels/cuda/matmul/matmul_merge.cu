#include "kernels/cuda/matmul/matmul_parts.cuh"

// What goes before and after a product's main kernel.

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 128, kMergeChannels = 256;

/// grid [channel tiles, rows]
__global__ void __launch_bounds__(kThreads) merge_kernel(EarlyStart, ProductArgs p, SumUnits units) {
  ptx::follow_previous();
  merge_tile(p, units, shared_memory<float>(), blockIdx.y, 1, int64_t{blockIdx.x} * kMergeChannels,
             kMergeChannels);
}

/// grid [column tiles, rows]; a thread makes 8 columns of a row
__global__ void __launch_bounds__(kThreads)
    round_kernel(EarlyStart, uint16_t* to, int64_t pitch, const void* x, DType dtype, int64_t stride,
                 int64_t columns) {
  ptx::follow_previous();
  const int64_t row = blockIdx.y, first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 8;
  if (first >= pitch) return;
  float value[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int64_t at = row * stride + first + i;
    value[i] = 0;
    if (first + i >= columns) continue;
    value[i] = dtype == DType::f32 ? static_cast<const float*>(x)[at]
                                   : from_bf16(static_cast<const uint16_t*>(x)[at]);
  }
  *reinterpret_cast<uint4*>(to + row * pitch + first) =
      make_uint4(ptx::pack_bf16(value[0], value[1]), ptx::pack_bf16(value[2], value[3]),
                 ptx::pack_bf16(value[4], value[5]), ptx::pack_bf16(value[6], value[7]));
}

unsigned tiles_of(int64_t n, int64_t tile) { return static_cast<unsigned>((n + tile - 1) / tile); }

// Blocks of a grid's second dimension, at most.
constexpr int64_t kMaxRows = 65535;

}  // namespace

void merge_units(Stream stream, const ProductArgs& p, const SumUnits& units) {
  const size_t bytes = static_cast<size_t>(units.count) * kMergeChannels * sizeof(float);
  launch(stream, dim3(tiles_of(p.out, kMergeChannels), static_cast<unsigned>(p.rows)), kThreads, bytes,
         merge_kernel, p, units);
}

void round_rows(Stream stream, uint16_t* to, int64_t pitch, Tensor x) {
  for (int64_t row = 0; row < x.rows() && pitch > 0; row += kMaxRows) {
    const Tensor part = x.row_range(row, std::min(x.rows(), row + kMaxRows));
    launch(stream, dim3(tiles_of(pitch, 8 * kThreads), static_cast<unsigned>(part.rows())), kThreads, 0,
           round_kernel, to + row * pitch, pitch, part.data, part.dtype, part.stride, part.cols());
  }
}

}  // namespace lapidary::cuda
