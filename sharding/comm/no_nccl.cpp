#include "configs/error.h"
#include "sharding/comm/nccl_options.h"

namespace lapidary {

std::unique_ptr<DeviceComm> make_nccl(Communicator&, Backend&, Watchdog&, const NcclOptions&) {
  fail("this program was built without NCCL (CMake option LAPIDARY_NCCL)");
}

}  // namespace lapidary
