#pragma once

#include <cuda_platform.h>

namespace lapidary::cuda {

/// x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x³), in the form x / (1 + exp(-2u)), which doesn't
/// cancel for negative x.
__device__ inline float gelu_tanh(float x) {
  constexpr float kLinear = -2 * 0.7978845608f, kCubic = kLinear * 0.044715f;
  return x / (1 + expf(x * fmaf(x * x, kCubic, kLinear)));
}

}  // namespace lapidary::cuda
