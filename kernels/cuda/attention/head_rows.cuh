#pragma once

#include <cuda_platform.h>

#include <cstdint>

#include "kernels/cuda/attention/attention_call.h"
#include "kernels/tensor.h"

// How the kernels read and write heads of q, k, v and out: eight neighbours at a time, as 16-byte words where
// the tensor is aligned, one by one elsewhere. Which of the two it is changes no bit.

namespace lapidary::cuda {

/// Elements [at, at + 8) of a head, zeros behind its end; `column`: of the head, a multiple of 8.
__device__ inline void load_eight(float (&to)[8], const HeadRows& x, int64_t head, int column) {
  const int left = x.head_dim - column;
  const int64_t at = head + column;
  if (x.bf16) {
    const auto* from = reinterpret_cast<const uint16_t*>(x.data) + at;
    if (x.aligned && left >= 8) {
      const uint4 v = *reinterpret_cast<const uint4*>(from);
      const uint32_t pairs[4] = {v.x, v.y, v.z, v.w};
      for (int i = 0; i < 8; ++i) to[i] = from_bf16(static_cast<uint16_t>(pairs[i / 2] >> (16 * (i % 2))));
    } else {
      for (int i = 0; i < 8; ++i) to[i] = i < left ? from_bf16(from[i]) : 0.0f;
    }
    return;
  }
  const auto* from = reinterpret_cast<const float*>(x.data) + at;
  if (x.aligned && left >= 8) {
    const float4 a = reinterpret_cast<const float4*>(from)[0], b = reinterpret_cast<const float4*>(from)[1];
    const float all[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
    for (int i = 0; i < 8; ++i) to[i] = all[i];
  } else {
    for (int i = 0; i < 8; ++i) to[i] = i < left ? from[i] : 0.0f;
  }
}

__device__ inline uint4 round_eight(const float (&x)[8]) {
  return make_uint4(ptx::pack_bf16(x[0], x[1]), ptx::pack_bf16(x[2], x[3]), ptx::pack_bf16(x[4], x[5]),
                    ptx::pack_bf16(x[6], x[7]));
}

__device__ inline void store_one(const HeadRows& x, int64_t at, float value) {
  if (x.bf16)
    reinterpret_cast<uint16_t*>(x.data)[at] = static_cast<uint16_t>(ptx::pack_bf16(value, 0) & 0xffffu);
  else
    reinterpret_cast<float*>(x.data)[at] = value;
}

// Columns `column` (even) and the next of a head; those behind its end are left out. Ways to write them, for
// tensors of one kind each, so that a kernel chooses once and not at each pair.
struct StoreWide {  // aligned float32
  __device__ __forceinline__ void operator()(const HeadRows& x, int64_t head, int column, float a,
                                             float b) const {
    if (column < x.head_dim)
      *reinterpret_cast<float2*>(reinterpret_cast<float*>(x.data) + head + column) = make_float2(a, b);
  }
};
struct StoreNarrow {  // aligned bfloat16
  __device__ __forceinline__ void operator()(const HeadRows& x, int64_t head, int column, float a,
                                             float b) const {
    if (column < x.head_dim)
      *reinterpret_cast<uint32_t*>(reinterpret_cast<uint16_t*>(x.data) + head + column) =
          ptx::pack_bf16(a, b);
  }
};
struct StoreAny {
  __device__ __forceinline__ void operator()(const HeadRows& x, int64_t head, int column, float a,
                                             float b) const {
    if (column < x.head_dim) store_one(x, head + column, a);
    if (column + 1 < x.head_dim) store_one(x, head + column + 1, b);
  }
};

}  // namespace lapidary::cuda
