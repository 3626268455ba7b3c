#include <cuda_platform.h>

// Each instruction of the kernels once, for each architecture that is supported, also where the kernels are
// compiled for one of them only (tests/CMakeLists.txt). It is not run.

namespace lapidary::cuda {

__global__ void each_instruction(EarlyStart, const uint4* from, uint4* to, float* sums, uint32_t* flag) {
  ptx::let_next_start();
  ptx::prefetch(from);
  ptx::wait_for_previous();
  ptx::follow_previous();
  auto* shared = shared_memory<uint4>();
  ptx::copy_async(shared + threadIdx.x, from + threadIdx.x, threadIdx.x < 16);
  ptx::commit_copies();
  ptx::wait_copies<0>();
  __syncthreads();
  uint32_t a[4], b[4];
  ptx::load_matrices(a, shared + threadIdx.x);
  ptx::load_matrices_transposed(b, shared + threadIdx.x);
  float d[4] = {};
  ptx::mma_bf16(d, a, {b[0], ptx::multiply_bf16(b[1], b[2])});
  const uint4 once = ptx::load_once(from + threadIdx.x);
  sums[threadIdx.x] = ptx::exp2_fast(d[0] + d[1] + d[2] + d[3]);
  to[threadIdx.x] = make_uint4(ptx::pack_bf16(d[0], d[1]), once.y, once.z, once.w);
  ptx::store_far(to + *flag, ptx::load_fresh(to + ptx::load_acquire(flag)));
}

}  // namespace lapidary::cuda
