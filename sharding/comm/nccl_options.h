#pragma once

#include <memory>
#include <string>

#include "kernels/backend.h"
#include "sharding/comm/device_comm.h"
#include "sharding/comm/watchdog.h"

namespace lapidary {

struct NcclOptions {
  /// Sums have the bits that SumTree says, whatever the number of ranks: blocks are gathered and added in the
  /// tree's order. Otherwise each rank gives one block and NCCL adds them in an order of its own.
  bool deterministic = true;
  /// Several processes may use one GPU, by NCCL's sockets: slow, for tests.
  bool shared_gpu = false;
  double deadline_seconds = 60;          // seconds in which all ranks have to connect
  std::string library = "libnccl.so.2";  // as the loader finds it
  /// Sums of up to so many bytes go by a kernel of our own over NCCL's windows, where the GPUs reach each
  /// other's memory and NCCL is 2.28 or newer. Below 0: as many as are faster so, measured at the start.
  int64_t peer_sums = -1;
  size_t gathered = size_t{64} << 20;  // bytes of blocks that are added at a time, where deterministic
};

/// `host`, with what a CUDA backend's tensors need done by NCCL in the backend's stream: sums, broadcasts and
/// gathers of rows, and the activations that one stage hands to another. Called by all ranks of `host`, whose
/// number is more than one; both outlive the result, and `watchdog` ends the rank when a peer is lost.
///
/// Tokens and embeddings travel as messages of the host, as `host` lets them. A send of NCCL's holds its
/// stream until the receiver's stream comes to the same message: with two steps in flight the last stage
/// would wait to give its tokens to the first, which waits to give it the next step's rows; and a rank that
/// only encodes would hold the first stage's decode steps until its pictures are done.
///
/// Throws a sentence where NCCL is not in the program or on this host, is another one on another rank, or
/// does not connect.
std::unique_ptr<DeviceComm> make_nccl(Communicator& host, Backend& ops, Watchdog& watchdog,
                                      const NcclOptions& options);

}  // namespace lapidary
