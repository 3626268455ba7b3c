#pragma once

#include <memory>

#include "kernels/backend.h"
#include "sharding/communicator.h"

namespace lapidary {

struct NcclOptions {
  /// Sums have the bits that SumTree says, whatever the number of ranks: blocks are gathered and added in the
  /// tree's order. Otherwise each rank gives one block and NCCL adds them in an order of its own.
  bool deterministic = true;
  /// Several processes may use one GPU, by NCCL's sockets: slow, for tests.
  bool shared_gpu = false;
  double deadline = 60;  // seconds in which all ranks have to connect
};

/// `host`, with sums over ranks and broadcasts of a CUDA backend's tensors done by NCCL in the backend's
/// stream; everything else goes as `host` lets it, rows of the device's memory by way of the host's. Called
/// by all ranks of `host`; both outlive the result. Throws a sentence where NCCL is not in the program or on
/// this host, or does not connect.
std::unique_ptr<Communicator> make_nccl(Communicator& host, Backend& ops, const NcclOptions& options);

}  // namespace lapidary
