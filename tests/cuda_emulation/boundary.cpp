#include "kernels/cuda/probe.h"

namespace lapidary::cuda {

// Kernels of the emulation are functions: none is started before the one before has ended.
double graph_boundary(bool) { return 0; }

}  // namespace lapidary::cuda
