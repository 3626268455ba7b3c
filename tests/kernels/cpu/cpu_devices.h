#pragma once

#include "kernels/cpu/isa/isa.h"
#include "tests/kernels/device_choice.h"

namespace lapidary {

/// The processor with this instruction set.
DeviceChoice device_with(const cpu::Isa& isa);

}  // namespace lapidary
