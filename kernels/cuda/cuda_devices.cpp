#include <memory>
#include <stdexcept>
#include <string>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/runtime/device.h"

namespace lapidary {

CudaDevices cuda_devices() {
  CudaDevices found;
  try {
    found.count = cuda::device_count();
    if (found.count == 0) found.why_none = cuda::why_no_device();
  } catch (const std::exception& e) {
    found.why_none = std::string("the driver does not answer: ") + e.what();
  }
  return found;
}

std::unique_ptr<Backend> make_cuda_backend(ThreadPool& threads, const CudaOptions& options) {
  return std::make_unique<cuda::CudaBackend>(threads, options);
}

}  // namespace lapidary
