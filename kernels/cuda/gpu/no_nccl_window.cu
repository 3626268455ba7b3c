#include "kernels/cuda/device.h"

namespace lapidary::cuda {

std::vector<std::byte*> reach_window(Stream, void*, int) { return {}; }

}  // namespace lapidary::cuda
