#include "kernels/cuda/add_norms.h"

#include <cuda_platform.h>

#include "kernels/cuda/norms.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/require.h"
#include "kernels/cuda/row_access.cuh"
#include "kernels/cuda/row_ops.h"

// The residual stream between two blocks of a layer: a block a row, which stays in its registers from the sum
// to the norm, so that each tensor is read or written once. Gains are weights: they are read before the wait
// for the sum.

namespace lapidary::cuda {
namespace {

constexpr int kN = 4;               // columns of a chunk, of any type
constexpr int kMostThreads = 1024;  // of a block
constexpr int kMostHeld = 2;        // chunks a thread: a row of up to 8192 columns
constexpr size_t kSharedBytes = 32 * sizeof(float);

/// Chunks of a row that a thread holds: chunk i begins at column (i * threads + thread) * kN.
template <int kHeld>
struct Held {
  float v[kHeld][kN] = {};

  template <class T>
  __device__ __forceinline__ void load(const T* row, int64_t cols, bool aligned) {
    LAPIDARY_UNROLL
    for (int i = 0; i < kHeld; ++i)
      if (const int64_t c = column(i); c < cols) load_chunk(v[i], row + c, cols - c, aligned);
  }
  template <class T>
  __device__ __forceinline__ void store(T* row, int64_t cols, bool aligned) const {
    LAPIDARY_UNROLL
    for (int i = 0; i < kHeld; ++i)
      if (const int64_t c = column(i); c < cols) store_chunk(row + c, v[i], cols - c, aligned);
  }
  /// Sum over the row of f(v); absent elements count as 0.
  template <class F>
  __device__ __forceinline__ float sum(int64_t cols, float* between, F f) const {
    float mine = 0;
    LAPIDARY_UNROLL
    for (int i = 0; i < kHeld * kN; ++i) mine += column(i / kN) + i % kN < cols ? f(v[i / kN][i % kN]) : 0.0f;
    return block_sum(mine, between);
  }
  __device__ static int64_t column(int i) { return (int64_t{i} * blockDim.x + threadIdx.x) * kN; }
};

__device__ inline float square(float v) { return v * v; }

__device__ inline float normed(float y, float inverse, float gain) { return y * inverse * (1 + gain); }

template <class H, class Y, int kHeld>
__global__ void __launch_bounds__(kMostThreads)
    add_rms_norm_rows(EarlyStart, RowsOf<H> h, RowsOf<float> x, RowsOf<const Y> y, const float* post,
                      const float* pre, float eps, int64_t cols, bool aligned) {
  auto* between = shared_memory<float>();
  const int64_t row = blockIdx.x;
  const auto count = static_cast<float>(cols);
  Held<kHeld> post_gain, pre_gain, sum, stream;
  ptx::let_next_start();
  post_gain.load(post, cols, aligned);
  if (pre != nullptr) pre_gain.load(pre, cols, aligned);
  ptx::wait_for_previous();
  sum.load(y.row(row), cols, aligned);
  stream.load(x.row(row), cols, aligned);

  const float of_sum = 1 / sqrtf(sum.sum(cols, between, square) / count + eps);
  LAPIDARY_UNROLL
  for (int i = 0; i < kHeld * kN; ++i)
    stream.v[i / kN][i % kN] += normed(sum.v[i / kN][i % kN], of_sum, post_gain.v[i / kN][i % kN]);
  stream.store(x.row(row), cols, aligned);
  if (pre == nullptr) return;

  const float of_stream = 1 / sqrtf(stream.sum(cols, between, square) / count + eps);
  LAPIDARY_UNROLL
  for (int i = 0; i < kHeld * kN; ++i)
    stream.v[i / kN][i % kN] = normed(stream.v[i / kN][i % kN], of_stream, pre_gain.v[i / kN][i % kN]);
  stream.store(h.row(row), cols, aligned);
}

/// Calls f(H, Y, chunks held as a constant, whether all is aligned, threads): fewest chunks that do.
template <class F>
void with_types(Tensor h, Tensor x, Tensor y, const float* gain, const float* other, const F& f) {
  const int64_t chunks = chunks_of(x.cols(), kN), held = chunks_of(chunks, kMostThreads);
  const auto threads = static_cast<int>((chunks_of(chunks, static_cast<int>(held)) + 31) / 32 * 32);
  const bool aligned = chunk_aligned(h, kN) && chunk_aligned(x, kN) && chunk_aligned(y, kN) &&
                       chunk_aligned(gain, DType::f32, kN) && chunk_aligned(other, DType::f32, kN);
  with_type(h, [&]<class H>(H) {
    with_type(y, [&]<class Y>(Y) {
      if (held == 1)
        f.template operator()<H, Y, 1>(threads, aligned);
      else
        f.template operator()<H, Y, kMostHeld>(threads, aligned);
    });
  });
}

bool fits(int64_t cols) { return cols <= int64_t{kMostThreads} * kMostHeld * kN; }

}  // namespace

void add_rms_norm(Stream stream, Tensor h, Tensor x, Tensor y, const float* post, const float* pre,
                  float eps) {
  require_f32("add_rms_norm", x);
  require_same_shape("add_rms_norm", x, y);
  require_same_shape("add_rms_norm", x, h);
  if (x.rows() == 0 || x.cols() == 0) return;
  if (!fits(x.cols())) {
    rms_norm(stream, y, y, post, eps);
    add(stream, x, y);
    if (pre != nullptr) rms_norm(stream, h, x, pre, eps);
    return;
  }
  with_types(h, x, y, post, pre, [&]<class H, class Y, int kHeld>(int threads, bool aligned) {
    launch(stream, dim3(static_cast<unsigned>(x.rows())), threads, kSharedBytes,
           add_rms_norm_rows<H, Y, kHeld>, rows_of<H>(h), rows_of<float>(x), rows_of<const Y>(y), post, pre,
           eps, x.cols(), aligned);
  });
}

}  // namespace lapidary::cuda
