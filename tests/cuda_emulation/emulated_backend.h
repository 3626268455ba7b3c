#pragma once

#include <memory>

#include "kernels/backend.h"

namespace lapidary {

/// The CUDA backend on the emulated device. `threads` stays alive as long as the backend.
std::unique_ptr<Backend> make_emulated_cuda_backend(ThreadPool& threads);

}  // namespace lapidary
