#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

std::vector<std::byte*> reach_window(Stream, void*, int) { return {}; }

}  // namespace lapidary::cuda
