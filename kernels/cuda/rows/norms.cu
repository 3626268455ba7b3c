#include "kernels/cuda/rows/norms.h"

#include <cuda_platform.h>

#include "kernels/cuda/rows/reduce.cuh"
#include "kernels/cuda/rows/row_access.cuh"
#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {
namespace {

constexpr int64_t kMaxThreads = 512;
constexpr size_t kSharedBytes = 32 * sizeof(float);

/// Sum over the row of f(x); f of an absent element is not asked for.
template <int N, class X, class F>
__device__ float row_sum(const X* row, int64_t cols, bool aligned, F f) {
  float sum = 0;
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * N; c < cols;
       c += static_cast<int64_t>(blockDim.x) * N) {
    float v[N];
    load_chunk(v, row + c, cols - c, aligned);
    for (int i = 0; i < N; ++i) sum += i < cols - c ? f(v[i]) : 0.0f;
  }
  return block_sum(sum, shared_memory<float>());
}

/// A block a row: y = x · rsqrt(mean(x²) + eps) · (1 + gain)
template <class Y, class X>
__global__ void rms_norm_rows(EarlyStart, RowsOf<Y> y, RowsOf<const X> x, const float* gain, float eps,
                              int64_t cols, bool aligned) {
  ptx::follow_previous();
  constexpr int kN = kChunk<Y, X>;
  const X* row = x.row(blockIdx.x);
  const float squares = row_sum<kN>(row, cols, aligned, [](float v) { return v * v; });
  const float inverse = 1 / sqrtf(squares / static_cast<float>(cols) + eps);
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * kN; c < cols;
       c += static_cast<int64_t>(blockDim.x) * kN) {
    float v[kN], g[kN];
    load_chunk(v, row + c, cols - c, aligned);
    load_chunk(g, gain + c, cols - c, aligned);
    for (int i = 0; i < kN; ++i) v[i] = v[i] * inverse * (1 + g[i]);
    store_chunk(y.row(blockIdx.x) + c, v, cols - c, aligned);
  }
}

/// A block a row: y = (x - mean) · rsqrt(var + eps) · gain + bias
template <class Y, class X>
__global__ void layer_norm_rows(EarlyStart, RowsOf<Y> y, RowsOf<const X> x, const float* gain,
                                const float* bias, float eps, int64_t cols, bool aligned) {
  ptx::follow_previous();
  constexpr int kN = kChunk<Y, X>;
  const X* row = x.row(blockIdx.x);
  const auto count = static_cast<float>(cols);
  const float mean = row_sum<kN>(row, cols, aligned, [](float v) { return v; }) / count;
  const float squares = row_sum<kN>(row, cols, aligned, [&](float v) { return (v - mean) * (v - mean); });
  const float inverse = 1 / sqrtf(squares / count + eps);
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * kN; c < cols;
       c += static_cast<int64_t>(blockDim.x) * kN) {
    float v[kN], g[kN], b[kN];
    load_chunk(v, row + c, cols - c, aligned);
    load_chunk(g, gain + c, cols - c, aligned);
    load_chunk(b, bias + c, cols - c, aligned);
    for (int i = 0; i < kN; ++i) v[i] = (v[i] - mean) * inverse * g[i] + b[i];
    store_chunk(y.row(blockIdx.x) + c, v, cols - c, aligned);
  }
}

/// Calls f(Y, X, chunk size, whether both tensors are aligned for chunks).
template <class F>
void with_types(Tensor y, Tensor x, const F& f) {
  with_type(y, [&]<class Y>(Y) {
    with_type(x, [&]<class X>(X) {
      constexpr int kN = kChunk<Y, X>;
      f(Y{}, X{}, kN, chunk_aligned(y, kN) && chunk_aligned(x, kN));
    });
  });
}

int threads_for(int64_t cols, int chunk) { return RowGrid(1, chunks_of(cols, chunk), kMaxThreads).threads; }

}  // namespace

void rms_norm(Stream stream, Tensor y, Tensor x, const float* gain, float eps) {
  require_same_shape("rms_norm", y, x);
  if (x.rows() == 0 || x.cols() == 0) return;
  with_types(y, x, [&]<class Y, class X>(Y, X, int chunk, bool aligned) {
    launch(stream, dim3(static_cast<unsigned>(x.rows())), threads_for(x.cols(), chunk), kSharedBytes,
           rms_norm_rows<Y, X>, rows_of<Y>(y), rows_of<const X>(x), gain, eps, x.cols(),
           aligned && chunk_aligned(gain, DType::f32, chunk));
  });
}

void layer_norm(Stream stream, Tensor y, Tensor x, const float* gain, const float* bias, float eps) {
  require_same_shape("layer_norm", y, x);
  if (x.rows() == 0 || x.cols() == 0) return;
  with_types(y, x, [&]<class Y, class X>(Y, X, int chunk, bool aligned) {
    launch(stream, dim3(static_cast<unsigned>(x.rows())), threads_for(x.cols(), chunk), kSharedBytes,
           layer_norm_rows<Y, X>, rows_of<Y>(y), rows_of<const X>(x), gain, bias, eps, x.cols(),
           aligned && chunk_aligned(gain, DType::f32, chunk) && chunk_aligned(bias, DType::f32, chunk));
  });
}

}  // namespace lapidary::cuda
