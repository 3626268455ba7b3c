#pragma once

#include <memory>

#include "sharding/comm/device_comm.h"

namespace lapidary {

/// Rank 0 of `size` ranks that do not exist: a rank's part of a model alone, to see how long it takes. It
/// hears itself in place of the others, and sums over ranks are its own part, so what comes out is no result.
std::unique_ptr<Communicator> make_shadow(int size);
/// The same for rows in the memory of `ops`, which outlives it.
std::unique_ptr<DeviceComm> make_shadow_rows(Communicator& shadow, Backend& ops);

}  // namespace lapidary
