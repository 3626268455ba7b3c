#pragma once

#include <cuda_platform.h>

#include <cstdint>

#include "kernels/backend.h"

// Gumbel noise of kernels/cpu/sampling.h: the same bits as on processors with a fused multiply-add.

namespace lapidary::cuda {

inline constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
__host__ __device__ inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// ln x for positive, normal x, 2 ulp: x = m 2^k with m in [sqrt(1/2), sqrt(2)). kernels/cpu/isa/math.h,
/// operation for operation.
__device__ inline float natural_log(float x) {
  const auto bits = static_cast<int32_t>(__float_as_uint(x));
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const auto k = static_cast<float>(exponent);
  const float t = __uint_as_float(static_cast<uint32_t>(bits - exponent * (1 << 23))) - 1;
  float p = -7.63449398e-2f;
  p = fmaf(p, t, 1.27615745e-1f);
  p = fmaf(p, t, -1.31601822e-1f);
  p = fmaf(p, t, 1.42017584e-1f);
  p = fmaf(p, t, -1.66233574e-1f);
  p = fmaf(p, t, 2.00012269e-1f);
  p = fmaf(p, t, -2.50008210e-1f);
  p = fmaf(p, t, 3.33333317e-1f);
  const float tt = t * t;
  float y = fmaf(tt * t, p, k * -2.12194440e-4f);
  y = fmaf(-0.5f, tt, y);
  return fmaf(k, 0.693359375f, t + y);
}

/// -log(-log(u)) with u = (bits + 1/2) / 2^32. From the upper half on 1 - u is what float32 holds well: its
/// small part is added behind the logarithm.
__device__ inline float gumbel(uint32_t bits) {
  const bool above = bits >> 31 != 0;
  const float distance = (static_cast<float>(static_cast<int32_t>(above ? ~bits : bits)) + 0.5f) * 0x1p-32f;
  const float u = above ? 1 - distance : distance;
  const float lost = above ? (1 - u) - distance : 0.0f;
  return 0.0f - natural_log(0.0f - (natural_log(u) + lost / u));
}

/// Where the numbers of a draw's row begin.
__host__ __device__ inline uint64_t noise_stream(const SamplingParams& draw) {
  return mix(mix(draw.seed + kGolden) + static_cast<uint64_t>(draw.position));
}
__device__ inline float noise_of(uint64_t stream, int64_t token) {
  return gumbel(static_cast<uint32_t>(mix(stream + static_cast<uint64_t>(token + 1) * kGolden) >> 32));
}

}  // namespace lapidary::cuda
