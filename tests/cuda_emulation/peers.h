#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/cuda/peer/peer_sum.h"

namespace lapidary::cuda {

/// A rank on a device of its own.
struct Rank {
  explicit Rank(int index)
      : stream(make(index)), memory(allocate_shared(4 * kMaxPeerNumbers * sizeof(float))) {}
  ~Rank() { destroy(stream); }
  static Stream make(int index) {
    use_device(index);
    return make_stream(false);
  }
  Tensor numbers(int64_t at, int64_t n) {
    return view(memory.get() + at * kMaxPeerNumbers * static_cast<int64_t>(sizeof(float)), DType::f32, 1, n);
  }

  const Stream stream;
  Buffer memory;
};

struct Peers {
  explicit Peers(int ranks) {
    std::vector<std::byte*> at;
    for (int r = 0; r < ranks; ++r) {
      ranks_of.push_back(std::make_unique<Rank>(r));
      windows.push_back(allocate(peer_window_bytes(ranks)));
      at.push_back(windows.back().get());
    }
    for (int r = 0; r < ranks; ++r)
      sums.push_back(make_peer_all_reduce(
          [stream = ranks_of[static_cast<size_t>(r)]->stream] { return stream; }, r, at));
  }
  void synchronize() {
    for (const auto& rank : ranks_of) cuda::synchronize(rank->stream);
  }

  std::vector<std::unique_ptr<Rank>> ranks_of;
  std::vector<Buffer> windows;
  std::vector<std::unique_ptr<PeerAllReduce>> sums;
};

}  // namespace lapidary::cuda
