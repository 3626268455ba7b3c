#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "kernels/cuda/device.h"

namespace lapidary::emulation {

/// Gives work to a stream. It is done in order and as late as a device may do it: when somebody waits for it,
/// so that what the host reads or overwrites too early shows. A stream without a handle does it at once.
/// `ahead`, if given, is what the work may do before the work in front of it is done; it is done as early as
/// that, where there is work in front.
void submit(cuda::Stream stream, std::function<void()> work, std::function<void()> ahead = {});

/// How often the host waited for a device that was not done yet, in this process.
int64_t host_waits();

/// What the driver says of itself and of its devices. A test may change it, and puts it back.
struct Driver {
  Driver();
  std::string why_no_device;  // not empty: there is none, for this reason
  cuda::DeviceInfo device;    // free_memory is counted
};
Driver& driver();
/// Of the devices, given out.
size_t device_memory_held();

}  // namespace lapidary::emulation
