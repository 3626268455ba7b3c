#include "kernels/cuda/runtime/device.h"
#include "tests/cuda_emulation/emulated_backend.h"
#include "tests/kernels/device_choice.h"

namespace lapidary {

const std::vector<DeviceChoice>& tested_devices() {
  static const std::vector<DeviceChoice> kDevices{
      {"cuda_emulated", make_emulated_cuda_backend, 128, true, true}};
  return kDevices;
}

Buffer test_memory(size_t bytes) { return cuda::allocate_shared(bytes); }

}  // namespace lapidary
