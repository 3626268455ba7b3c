#pragma once

#include <memory>
#include <span>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"

namespace lapidary::cuda {

/// Devices that may add up together.
constexpr int kMostPeers = 8;
/// Numbers of one sum.
constexpr int64_t kMostPeerNumbers = int64_t{1} << 16;

/// Bytes of each rank's window.
size_t peer_window_bytes(int ranks);

/// Sums of small rows over the ranks of a group by one kernel: each rank writes its numbers into everyone's
/// window, and adds what has come to its own, in the order that is asked for. There is no barrier beside the
/// numbers themselves: halves of the window take turns, and a rank that begins a sum has read the last but
/// one. How many sums there were is counted on the device, so a recorded sum can be replayed.
///
/// windows[r]: rank r's zeroed window as this device reaches it.
std::unique_ptr<PeerSum> make_peer_sum(Stream stream, int rank, std::span<std::byte* const> windows);

}  // namespace lapidary::cuda
