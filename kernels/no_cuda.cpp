#include <stdexcept>

#include "kernels/backend.h"
#include "kernels/cuda_options.h"
#include "kernels/device_probe.h"

namespace lapidary {
namespace {
constexpr const char* kWhy =
    "this program was built without CUDA (CMake option LAPIDARY_CUDA, which needs nvcc)";
}

CudaDevices cuda_devices() { return {0, kWhy}; }

std::unique_ptr<Backend> make_cuda_backend(ThreadPool&, const CudaOptions&) {
  throw std::runtime_error(kWhy);
}

DeviceRates measure_device(Backend&, size_t) { throw std::logic_error(kWhy); }

double library_product_seconds(Backend&, int64_t, int64_t, int64_t) { throw std::logic_error(kWhy); }

}  // namespace lapidary
