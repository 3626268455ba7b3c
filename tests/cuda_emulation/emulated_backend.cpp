#include "tests/cuda_emulation/emulated_backend.h"
#include "kernels/cuda_options.h"

#include "kernels/cuda/cuda_backend.h"

namespace lapidary {

std::unique_ptr<Backend> make_emulated_cuda_backend(ThreadPool& threads) {
  return std::make_unique<cuda::CudaBackend>(threads, CudaOptions{});
}

}  // namespace lapidary
