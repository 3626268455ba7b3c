#include "kernels/cuda/matmul/matmul_parts.cuh"

// Products with a float32 weight: each element is one chain of multiply-adds over a unit's columns.

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256, kSide = 64,
              kDepth = 16;         // a block: 64 rows x 64 channels, 16 columns at a time
constexpr int kPitch = kSide + 1;  // floats; neighbours in a column are in other banks

__device__ float read_x(const ProductArgs& p, int64_t row, int64_t k) {
  const int64_t at = row * p.x_stride + k;
  return p.x_dtype == DType::f32 ? static_cast<const float*>(p.x)[at]
                                 : from_bf16(static_cast<const uint16_t*>(p.x)[at]);
}

/// Columns [first, last), at most kDepth, to x, w [kDepth][kPitch]; zeros behind the last row and channel.
__device__ void bring(const ProductArgs& p, float* x, float* w, int64_t row, int64_t channel, int first,
                      int last) {
  for (int i = static_cast<int>(threadIdx.x); i < kSide * kDepth; i += kThreads) {
    const int at = i / kDepth, k = i % kDepth;
    if (first + k >= last) continue;
    x[k * kPitch + at] = row + at < p.rows ? read_x(p, row + at, first + k) : 0;
    const auto* weight = reinterpret_cast<const float*>(p.w + (channel + at) * p.w_pitch);
    w[k * kPitch + at] = channel + at < p.out ? weight[first + k] : 0;
  }
}

/// grid [channel tiles, row tiles, units]; thread: rows t / 16 + 16 i, channels t % 16 + 16 j
__global__ void __launch_bounds__(kThreads) plain_kernel(EarlyStart, ProductArgs p, SumUnits units) {
  ptx::follow_previous();
  const int thread = static_cast<int>(threadIdx.x), unit = static_cast<int>(blockIdx.z);
  const int64_t row = int64_t{blockIdx.y} * kSide, channel = int64_t{blockIdx.x} * kSide;
  const int end = units.cuts[unit + 1];
  float *x = shared_memory<float>(), *w = x + kDepth * kPitch;
  float sum[4][4] = {};
  for (int first = units.cuts[unit]; first < end; first += kDepth) {
    bring(p, x, w, row, channel, first, end);
    __syncthreads();
    const int depth = min(kDepth, end - first);
    for (int k = 0; k < depth; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          sum[i][j] =
              fmaf(x[k * kPitch + thread / 16 + 16 * i], w[k * kPitch + thread % 16 + 16 * j], sum[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t r = row + thread / 16 + 16 * i, c = channel + thread % 16 + 16 * j;
      if (p.gated && p.partials == nullptr) {
        const float up = __shfl_xor_sync(0xffffffffu, sum[i][j], kGateRun);
        if (thread % 16 < kGateRun && r < p.rows && c < p.out) finish_gated(p, r, c, sum[i][j], up, 1, 1);
      } else {
        put_sum(p, unit, r, c, sum[i][j], ending_of(p, c));
      }
    }
  }
}

unsigned tiles_of(int64_t n) { return static_cast<unsigned>((n + kSide - 1) / kSide); }

}  // namespace

void plain_product(Stream stream, const ProductArgs& p, const SumUnits& units) {
  launch(stream, dim3(tiles_of(p.out), tiles_of(p.rows), static_cast<unsigned>(units.count)), kThreads,
         size_t{2} * kDepth * kPitch * sizeof(float), plain_kernel, p, units);
}

}  // namespace lapidary::cuda
