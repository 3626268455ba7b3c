#pragma once

#include <functional>
#include <memory>
#include <span>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// Devices that may add up together.
constexpr int kMaxPeers = 8;
/// Numbers of one sum: 56 rows of 4608.
constexpr int64_t kMaxPeerNumbers = int64_t{1} << 18;

/// Bytes of each rank's window.
size_t peer_window_bytes(int ranks);

/// Sums of small rows over the ranks of a group by one kernel (peer_words.cuh says how). It goes into the
/// stream that `stream` names when it is asked for; those of one rank come after each other, whatever streams
/// they go to. windows[r]: rank r's zeroed window as this device reaches it.
std::unique_ptr<PeerAllReduce> make_peer_all_reduce(std::function<Stream()> stream, int rank,
                                                    std::span<std::byte* const> windows);

}  // namespace lapidary::cuda
