#pragma once

#include <cuda_platform.h>

#include <cstdint>

namespace lapidary::cuda {

/// Sum over a block's threads, the same on each, in an order that the number of threads (a multiple of 32)
/// alone decides. between: shared memory for 32 floats.
__device__ inline float block_sum(float value, float* between) {
  for (int bits = 16; bits > 0; bits /= 2) value += __shfl_xor_sync(0xffffffffu, value, bits);
  if (threadIdx.x % 32 == 0) between[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) sum += between[warp];
  __syncthreads();  // the next sum may overwrite `between`
  return sum;
}

}  // namespace lapidary::cuda
