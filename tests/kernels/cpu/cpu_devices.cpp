#include "tests/kernels/cpu/cpu_devices.h"

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/memory.h"
#include "tests/amx_emulation/emulated_isa.h"

namespace lapidary {

DeviceChoice device_with(const cpu::Isa& isa) {
  return {cpu::test_name(isa),
          [&isa](ThreadPool& threads) { return std::make_unique<cpu::CpuBackend>(threads, isa); },
          isa.chunk_rows, &isa == &cpu::emulated_amx_isa()};
}

/// Every instruction set that this machine has, and AMX in software.
const std::vector<DeviceChoice>& tested_devices() {
  static const std::vector<DeviceChoice> kDevices = [] {
    std::vector<DeviceChoice> devices;
    for (const cpu::Isa* isa : cpu::tested_isas()) devices.push_back(device_with(*isa));
    return devices;
  }();
  return kDevices;
}

Buffer test_memory(size_t bytes) { return cpu::allocate(bytes); }

}  // namespace lapidary
