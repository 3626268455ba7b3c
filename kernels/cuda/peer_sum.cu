#include "kernels/cuda/peer_sum.h"

#include <cuda_platform.h>

#include <atomic>
#include <cstring>

#include "kernels/cuda/merges.cuh"

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kChunk = 4 * kThreads;  // numbers of a block: small, so that many SMs send at once
constexpr int kChunks = static_cast<int>(kMostPeerNumbers / kChunk);
constexpr int kMostDepth = 4;  // of the stack, for a balanced tree; in rank order it takes 2

/// A rank's window: numbers [chunks, 2 halves, ranks, kChunk], then flags [chunks, 2 halves, ranks], each the
/// count of the sum whose numbers of that rank are there.
struct Peers {
  int ranks, rank;
  std::byte* windows[kMostPeers];
  uint32_t* counts;       // [chunks], this device's own: sums that are done
  const uint32_t* abort;  // memory of the host; not 0: nobody waits any more

  __device__ float* numbers(int window, int chunk, uint32_t half, int from) const {
    return reinterpret_cast<float*>(windows[window]) + ((2 * chunk + half) * ranks + from) * int64_t{kChunk};
  }
  __device__ uint32_t* flag(int window, int chunk, uint32_t half, int from) const {
    auto* flags = reinterpret_cast<uint32_t*>(windows[window]) + 2 * kMostPeerNumbers * ranks;
    return flags + (2 * chunk + half) * ranks + from;
  }
};

using PeerMerges = Merges<kMostPeers, kMostDepth>;

/// Block b adds numbers [b * kChunk, …) of y [size]; it waits for block b of the other ranks and nobody else.
__global__ void add_over_peers(float* y, const float* mine, int64_t size, Peers peers, PeerMerges merges) {
  const int chunk = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const int64_t first = static_cast<int64_t>(chunk) * kChunk;
  const int here = static_cast<int>(size - first < kChunk ? size - first : kChunk);
  const uint32_t count = peers.counts[chunk] + 1, half = count & 1;

  for (int i = thread; i < here; i += kThreads) {
    const float number = mine[first + i];
    for (int p = 0; p < peers.ranks; ++p) peers.numbers(p, chunk, half, peers.rank)[i] = number;
  }
  ptx::fence_system();
  __syncthreads();
  if (thread < peers.ranks) {
    ptx::store_release(peers.flag(thread, chunk, half, peers.rank), count);
    const uint32_t* flag = peers.flag(peers.rank, chunk, half, thread);
    for (uint32_t asked = 1; ptx::load_acquire(flag) != count; ++asked)
      if ((asked & 1023) == 0 && ptx::load_acquire(peers.abort) != 0) break;
  }
  __syncthreads();

  for (int i = thread; i < here; i += kThreads) {
    y[first + i] =
        merges.sum([&](int r) { return ptx::load_fresh(peers.numbers(peers.rank, chunk, half, r) + i); });
  }
  if (thread == 0) peers.counts[chunk] = count;  // all threads have read it: there was a barrier
}

class Sum final : public PeerSum {
 public:
  Sum(Stream stream, int rank, std::span<std::byte* const> windows)
      : stream_(stream),
        counts_(allocate(kChunks * sizeof(uint32_t))),
        abort_(allocate_pinned(sizeof(uint32_t))),
        peers_{static_cast<int>(windows.size()),
               rank,
               {},
               reinterpret_cast<uint32_t*>(counts_.get()),
               reinterpret_cast<uint32_t*>(abort_.get())} {
    require(windows.size() <= static_cast<size_t>(kMostPeers), "peer_sum", "there are too many ranks");
    std::memset(abort_.get(), 0, sizeof(uint32_t));
    for (size_t r = 0; r < windows.size(); ++r) peers_.windows[r] = windows[r];
  }

  int64_t most() const override { return kMostPeerNumbers; }

  void sum(Tensor y, Tensor mine, std::span<const int> merges) override {
    require(y.dtype == DType::f32 && mine.dtype == DType::f32, "peer_sum", "all is float32");
    require(mine.shape == y.shape && y.stride == y.cols() && mine.stride == mine.cols(), "peer_sum",
            "both shapes must be equal, and contiguous");
    require(merges.size() == static_cast<size_t>(peers_.ranks), "peer_sum", "each rank has one block");
    const int64_t size = y.rows() * y.cols();
    require(size <= kMostPeerNumbers, "peer_sum", "there are too many numbers");
    const auto all = checked_merges<kMostPeers, kMostDepth>("peer_sum", merges);
    if (size == 0) return;
    launch(stream_, dim3(static_cast<unsigned>((size + kChunk - 1) / kChunk)), kThreads, 0, add_over_peers,
           static_cast<float*>(y.data), static_cast<const float*>(mine.data), size, peers_, all);
  }

  void abort() override { std::atomic_ref(*reinterpret_cast<uint32_t*>(abort_.get())).store(1); }

 private:
  const Stream stream_;
  Buffer counts_, abort_;
  Peers peers_;
};

}  // namespace

size_t peer_window_bytes(int ranks) {
  const auto peers = static_cast<size_t>(ranks);
  return peers * (2 * static_cast<size_t>(kMostPeerNumbers) * sizeof(float) + 2 * kChunks * sizeof(uint32_t));
}

std::unique_ptr<PeerSum> make_peer_sum(Stream stream, int rank, std::span<std::byte* const> windows) {
  return std::make_unique<Sum>(stream, rank, windows);
}

}  // namespace lapidary::cuda
