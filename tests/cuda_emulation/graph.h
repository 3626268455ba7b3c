#pragma once

#include <functional>

#include "kernels/cuda/runtime/device.h"

namespace lapidary::emulation {

/// Whether the stream is recorded; then `work` went to the recording.
bool record_work(cuda::Stream stream, std::function<void()>& work);
/// std::logic_error where a stream is recorded: `what` is nothing that a device lets be done then.
void refuse_while_recorded(cuda::Stream stream, const char* what);

}  // namespace lapidary::emulation
