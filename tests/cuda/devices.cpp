#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda_options.h"
#include "tests/kernels/device_choice.h"

namespace lapidary {

/// The first GPU; its products in the order of additions that does not depend on the number of rows, which is
/// what the tests of all devices ask for.
const std::vector<DeviceChoice>& tested_devices() {
  static const std::vector<DeviceChoice> kDevices{{"cuda",
                                                   [](ThreadPool& threads) {
                                                     return make_cuda_backend(threads, {0, true});
                                                   },
                                                   128, false, true}};
  return kDevices;
}

Buffer test_memory(size_t bytes) { return cuda::allocate_shared(bytes); }

}  // namespace lapidary
