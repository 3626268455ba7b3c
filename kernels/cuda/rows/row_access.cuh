#pragma once

#include <cuda_platform.h>

#include <algorithm>
#include <cstdint>

#include "kernels/tensor.h"

// How the kernels of rows read, write and are spread. A thread takes a chunk of neighbours of one row: with
// loads of up to 16 bytes where the tensor is aligned, one by one elsewhere and at a row's end. Which of the
// two it is changes no bit of a result.

namespace lapidary::cuda {

/// Rows of T (float, or uint16_t for bfloat16) as a kernel sees them.
template <class T>
struct RowsOf {
  T* data;
  int64_t stride;  // elements

  __device__ T* row(int64_t r) const { return data + r * stride; }
};

template <class T>
RowsOf<T> rows_of(Tensor x) {
  return {static_cast<T*>(x.data), x.stride};
}

/// One row for all rows.
inline RowsOf<const float> same_row(const float* data) { return {data, 0}; }

/// Elements a thread takes at a time: 16 bytes of the widest type.
template <class... T>
inline constexpr int kChunk = static_cast<int>(16 / std::max({sizeof(T)...}));

__device__ inline float widen(float value) { return value; }
__device__ inline float widen(uint16_t bits) { return from_bf16(bits); }
__device__ inline void narrow(float& to, float value) { to = value; }
__device__ inline void narrow(uint16_t& to, float value) {
  to = static_cast<uint16_t>(ptx::pack_bf16(value, 0));
}

template <int N>
__device__ void load_aligned(float (&to)[N], const float* from) {
  for (int i = 0; i < N; i += 4) {
    const float4 v = *reinterpret_cast<const float4*>(from + i);
    to[i] = v.x;
    to[i + 1] = v.y;
    to[i + 2] = v.z;
    to[i + 3] = v.w;
  }
}
template <int N>
__device__ void load_aligned(float (&to)[N], const uint16_t* from) {
  uint32_t pairs[N / 2];
  if constexpr (N == 8) {
    const uint4 v = *reinterpret_cast<const uint4*>(from);
    pairs[0] = v.x, pairs[1] = v.y, pairs[2] = v.z, pairs[3] = v.w;
  } else {
    const uint2 v = *reinterpret_cast<const uint2*>(from);
    pairs[0] = v.x, pairs[1] = v.y;
  }
  for (int i = 0; i < N / 2; ++i) {
    to[2 * i] = from_bf16(static_cast<uint16_t>(pairs[i] & 0xffffu));
    to[2 * i + 1] = from_bf16(static_cast<uint16_t>(pairs[i] >> 16));
  }
}
template <int N>
__device__ void store_aligned(float* to, const float (&from)[N]) {
  for (int i = 0; i < N; i += 4)
    *reinterpret_cast<float4*>(to + i) = make_float4(from[i], from[i + 1], from[i + 2], from[i + 3]);
}
template <int N>
__device__ void store_aligned(uint16_t* to, const float (&from)[N]) {
  uint32_t pairs[N / 2];
  for (int i = 0; i < N / 2; ++i) pairs[i] = ptx::pack_bf16(from[2 * i], from[2 * i + 1]);
  if constexpr (N == 8)
    *reinterpret_cast<uint4*>(to) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  else
    *reinterpret_cast<uint2*>(to) = make_uint2(pairs[0], pairs[1]);
}

/// A chunk of which `left` or more elements are there; the others count as 0. aligned: chunk_aligned() held.
template <int N, class T>
__device__ void load_chunk(float (&to)[N], const T* from, int64_t left, bool aligned) {
  if (aligned && left >= N) return load_aligned(to, from);
  for (int i = 0; i < N; ++i) to[i] = i < left ? widen(from[i]) : 0.0f;
}
template <int N, class T>
__device__ void store_chunk(T* to, const float (&from)[N], int64_t left, bool aligned) {
  if (aligned && left >= N) return store_aligned(to, from);
  for (int i = 0; i < N; ++i)
    if (i < left) narrow(to[i], from[i]);
}

/// Whether chunks of n elements can be loaded as a whole.
inline bool chunk_aligned(const void* data, DType dtype, int n) {
  return reinterpret_cast<uintptr_t>(data) % std::min<size_t>(16, static_cast<size_t>(n) * size_of(dtype)) ==
         0;
}
inline bool chunk_aligned(Tensor x, int n) {
  return chunk_aligned(x.data, x.dtype, n) &&
         (x.rows() <= 1 || static_cast<size_t>(x.stride) * size_of(x.dtype) %
                                   std::min<size_t>(16, static_cast<size_t>(n) * size_of(x.dtype)) ==
                               0);
}

/// Calls f with a value of the type that x holds.
template <class F>
void with_type(Tensor x, const F& f) {
  x.dtype == DType::f32 ? f(float{}) : f(uint16_t{});
}

/// A block a row (grid.x) and a stretch of its columns (grid.y), a thread a chunk.
struct RowGrid {
  dim3 blocks;
  int threads;

  RowGrid(int64_t rows, int64_t chunks, int64_t max_threads = 256) : threads(32) {
    const int64_t parts = std::max<int64_t>(1, (chunks + max_threads - 1) / max_threads);
    const int64_t each = (chunks + parts - 1) / parts;
    threads = static_cast<int>(std::max<int64_t>(32, (each + 31) / 32 * 32));
    blocks = dim3(static_cast<unsigned>(rows), static_cast<unsigned>(parts));
  }
};

constexpr int64_t chunks_of(int64_t cols, int n) { return (cols + n - 1) / n; }

/// First column of this thread's chunk in a RowGrid.
__device__ inline int64_t first_column(int n) {
  return (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * n;
}

}  // namespace lapidary::cuda
