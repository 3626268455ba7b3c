#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace lapidary {

/// A device that kernels are tested on. Several test programs are made of the same tests (*_test.cpp here);
/// each defines the two functions below.
struct DeviceChoice {
  std::string name;  // of its tests: letters, digits and _
  std::function<std::unique_ptr<Backend>(ThreadPool&)> make;
  int64_t chunk_rows = 1;  // rows that its products take at one time; more of them go chunk by chunk
  bool slow = false;       // a product costs a thousand times the machine's
  // Attention computes the row of a one-row span by other means than the rows of a longer span: as exact, but
  // not the same bits.
  bool decodes_apart = false;
};

const std::vector<DeviceChoice>& tested_devices();

/// Memory that the program's devices and the host both read and write.
Buffer test_memory(size_t bytes);

}  // namespace lapidary
