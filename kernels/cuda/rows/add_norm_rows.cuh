#pragma once

#include <cuda_platform.h>

#include "kernels/backend.h"
#include "kernels/cuda/rows/reduce.cuh"
#include "kernels/cuda/rows/row_access.cuh"

// The residual stream between two blocks of a layer: a block a row, which stays in its registers from the sum
// to the norm, so that each tensor is read or written once. Kernels differ in where the sum comes from, and
// not in a bit of what becomes of it.

namespace lapidary::cuda {

constexpr int kHeldColumns = 4;        // of a chunk, of any type
constexpr int kMaxHeldThreads = 1024;  // of a block
constexpr int kMaxHeld = 2;            // chunks a thread: a row of up to 8192 columns
constexpr size_t kAddNormShared = 32 * sizeof(float);

/// Chunks of a row that a thread holds: chunk i begins at column(i).
template <int kHeld>
struct Held {
  static constexpr int kN = kHeldColumns;
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
  /// 1 / the root of the mean over the row of v².
  __device__ __forceinline__ float inverse_rms(int64_t cols, float eps, float* between) const {
    float mine = 0;
    LAPIDARY_UNROLL
    for (int i = 0; i < kHeld * kN; ++i) {
      const float each = v[i / kN][i % kN];
      mine += column(i / kN) + i % kN < cols ? each * each : 0.0f;
    }
    return 1 / sqrtf(block_sum(mine, between) / static_cast<float>(cols) + eps);
  }
  __device__ static int64_t column(int i) { return (int64_t{i} * blockDim.x + threadIdx.x) * kN; }
};

/// AddNorm but for its y, as kernels take it.
template <class H>
struct AddNormRows {
  RowsOf<H> h;
  RowsOf<float> x;
  const float *post, *pre;
  float eps;
  int64_t cols;
  bool aligned;  // also the kernel's y
};

template <class H>
AddNormRows<H> add_norm_rows(const AddNorm& to, bool aligned) {
  return {rows_of<H>(to.h), rows_of<float>(to.x), to.post, to.pre, to.eps, to.x.cols(), aligned};
}

/// Gains are weights: they may be read before the wait for what is in front.
template <int kHeld>
struct HeldGains {
  Held<kHeld> post, pre;

  /// To the second cache, in lines of 128 bytes.
  template <class H>
  __device__ __forceinline__ void prefetch(const AddNormRows<H>& to) const {
    for (int i = 0; i < kHeld; ++i) {
      const int64_t c = post.column(i);
      if (c >= to.cols || c % 32 != 0) continue;
      ptx::prefetch(to.post + c);
      if (to.pre != nullptr) ptx::prefetch(to.pre + c);
    }
  }
  template <class H>
  __device__ __forceinline__ void load(const AddNormRows<H>& to) {
    post.load(to.post, to.cols, to.aligned);
    if (to.pre != nullptr) pre.load(to.pre, to.cols, to.aligned);
  }
};

/// The block's row of x, in `stream`, and of the sum to the row of h. All threads come.
template <class H, int kHeld>
__device__ __forceinline__ void add_normed(const AddNormRows<H>& to, const HeldGains<kHeld>& gains,
                                           const Held<kHeld>& sum, Held<kHeld>& stream) {
  constexpr int kN = kHeldColumns;
  auto* between = shared_memory<float>();
  const int64_t row = blockIdx.x;
  const auto normed = [](float y, float inverse, float gain) { return y * inverse * (1 + gain); };

  const float of_sum = sum.inverse_rms(to.cols, to.eps, between);
  LAPIDARY_UNROLL
  for (int i = 0; i < kHeld * kN; ++i)
    stream.v[i / kN][i % kN] += normed(sum.v[i / kN][i % kN], of_sum, gains.post.v[i / kN][i % kN]);
  stream.store(to.x.row(row), to.cols, to.aligned);
  if (to.pre == nullptr) return;

  const float of_stream = stream.inverse_rms(to.cols, to.eps, between);
  LAPIDARY_UNROLL
  for (int i = 0; i < kHeld * kN; ++i)
    stream.v[i / kN][i % kN] = normed(stream.v[i / kN][i % kN], of_stream, gains.pre.v[i / kN][i % kN]);
  stream.store(to.h.row(row), to.cols, to.aligned);
}

inline bool add_norm_fits(int64_t cols) { return cols <= int64_t{kMaxHeldThreads} * kMaxHeld * kHeldColumns; }

/// Calls f(H, chunks held as a constant, threads, whether all is aligned), fewest chunks that do; `y` is what
/// the kernel reads for to.y.
template <class F>
void with_held(const AddNorm& to, Tensor y, const F& f) {
  constexpr int kN = kHeldColumns;
  const int64_t chunks = chunks_of(to.x.cols(), kN), held = chunks_of(chunks, kMaxHeldThreads);
  const auto threads = static_cast<int>((chunks_of(chunks, static_cast<int>(held)) + 31) / 32 * 32);
  const bool aligned = chunk_aligned(to.h, kN) && chunk_aligned(to.x, kN) && chunk_aligned(y, kN) &&
                       chunk_aligned(to.post, DType::f32, kN) && chunk_aligned(to.pre, DType::f32, kN);
  with_type(to.h, [&]<class H>(H) {
    if (held == 1)
      f.template operator()<H, 1>(threads, aligned);
    else
      f.template operator()<H, kMaxHeld>(threads, aligned);
  });
}

}  // namespace lapidary::cuda
