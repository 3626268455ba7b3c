#include "sharding/comm/device_comm.h"

namespace lapidary {

void DeviceComm::all_reduce_add_norm(Backend& ops, const AddNorm& to, Tensor partials,
                                     const SumTree::Finish& finish) {
  all_reduce(to.y, partials, finish);
  ops.add_rms_norm(to);
}

}  // namespace lapidary
