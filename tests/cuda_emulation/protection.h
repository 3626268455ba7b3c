#pragma once

#include <cstddef>

namespace lapidary::emulation {

// Device memory is none of the host's: code of the host that reads or writes it runs well on the emulated
// device and would end the process on a real one. So it ends here, too, with a sentence, where the processor
// has protection keys (PKU); elsewhere nothing is noticed.

/// `bytes` from a page's begin on are device memory from now on.
void make_device_memory(void* begin, size_t bytes);

/// While one lives, this thread is the device: it works on device memory. They nest.
class AsDevice {
 public:
  AsDevice();
  ~AsDevice();
  AsDevice(const AsDevice&) = delete;

 private:
  int outer_;  // the thread's rights before
};

/// Whether this machine notices what the host must not do.
bool host_access_is_noticed();

}  // namespace lapidary::emulation
