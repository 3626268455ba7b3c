#include "kernels/cuda/peer/peer_sum.h"

#include <cuda_platform.h>

#include <atomic>
#include <cstring>
#include <utility>

#include "kernels/cuda/peer/peer_words.cuh"
#include "kernels/cuda/rows/add_norm_rows.cuh"
#include "kernels/cuda/rows/add_norms.h"
#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 128;  // a chunk each: small blocks, so that many SMs send at once

/// A thread adds a chunk of y [size].
template <class Order>
__global__ void sum_over_peers(EarlyStart, float* y, const float* mine, int64_t size, bool aligned,
                               Peers peers, Order order) {
  ptx::follow_previous();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x, first = i * kPeerChunk;
  const uint32_t half = peers.half();
  if (first < size) {
    float v[kPeerChunk];
    load_chunk(v, mine + first, size - first, aligned);
    peers.send(half, static_cast<uint32_t>(i), v, order);
    peers.sum(half, static_cast<uint32_t>(i), v, order);
    store_chunk(y + first, v, size - first, aligned);
  }
  peers.end_turn();
}

/// Threads of a block that adds and norms a row; where each holds two chunks there are fewer, which then have
/// the registers for what comes from eight ranks. So a row has up to 6144 columns.
constexpr int max_row_threads(int held) { return held == 1 ? kMaxHeldThreads : 768; }
constexpr int64_t kMaxRow = int64_t{kMaxHeld} * max_row_threads(kMaxHeld) * kHeldColumns;

/// A block adds its row and norms it: a rank waits for the same row of the others.
template <class H, int kHeld, class Order>
__global__ void __launch_bounds__(max_row_threads(kHeld), 1)
    sum_add_norm_rows(EarlyStart, AddNormRows<H> to, RowsOf<const float> mine, Peers peers, Order order) {
  const int64_t row = blockIdx.x;
  const auto first = static_cast<uint32_t>(row * chunks_of(to.cols, kPeerChunk));
  HeldGains<kHeld> gains;
  Held<kHeld> sum, stream;
  ptx::let_next_start();
  gains.prefetch(to);
  ptx::wait_for_previous();
  sum.load(mine.row(row), to.cols, to.aligned);

  const uint32_t half = peers.half();
  const auto for_chunks = [&](auto what) {
    LAPIDARY_UNROLL
    for (int i = 0; i < kHeld; ++i)
      if (const int64_t c = sum.column(i); c < to.cols)
        what(first + static_cast<uint32_t>(c / kPeerChunk), sum.v[i]);
  };
  for_chunks([&](uint32_t at, auto& v) { peers.send(half, at, v, order); });
  for_chunks([&](uint32_t at, auto& v) { peers.sum(half, at, v, order); });
  // While the others' numbers are on their way the registers are theirs; these come beside the first
  // reduction.
  stream.load(to.x.row(row), to.cols, to.aligned);
  gains.load(to);
  add_normed(to, gains, sum, stream);
  peers.end_turn();
}

/// Calls f(order) with the order that `merges` spells.
template <class F>
void with_order(std::span<const int> merges, const F& f) {
  if (BalancedOrder<2>::is(merges)) return f(BalancedOrder<2>());
  if (BalancedOrder<4>::is(merges)) return f(BalancedOrder<4>());
  if (BalancedOrder<8>::is(merges)) return f(BalancedOrder<8>());
  f(MergedOrder{checked_merges<MergedOrder::kMax, MergedOrder::kMaxDepth>("peer_sum", merges)});
}

class Sum final : public PeerAllReduce {
 public:
  Sum(std::function<Stream()> stream, int rank, std::span<std::byte* const> windows)
      : stream_(std::move(stream)),
        turns_(allocate(2 * sizeof(uint32_t))),
        abort_(allocate_pinned(sizeof(uint32_t))),
        peers_{static_cast<int>(windows.size()),
               rank,
               {},
               reinterpret_cast<uint4*>(windows[static_cast<size_t>(rank)]),
               reinterpret_cast<uint32_t*>(turns_.get()),
               reinterpret_cast<uint32_t*>(abort_.get())} {
    require(windows.size() <= static_cast<size_t>(kMaxPeers), "peer_sum", "there are too many ranks");
    std::memset(abort_.get(), 0, sizeof(uint32_t));
    for (size_t r = 0; r < windows.size(); ++r) peers_.windows[r] = reinterpret_cast<uint4*>(windows[r]);
  }

  int64_t max_elements() const override { return kMaxPeerNumbers; }

  void sum(Tensor y, Tensor mine, std::span<const int> merges) override {
    check(y, mine, merges);
    const int64_t size = y.rows() * y.cols(), chunks = chunks_of(size, kPeerChunk);
    if (size == 0) return;
    const bool aligned =
        chunk_aligned(y.data, DType::f32, kPeerChunk) && chunk_aligned(mine.data, DType::f32, kPeerChunk);
    with_order(merges, [&]<class Order>(const Order& order) {
      launch(stream_(), dim3(static_cast<unsigned>(chunks_of(chunks, kThreads))), kThreads, 0,
             sum_over_peers<Order>, static_cast<float*>(y.data), static_cast<const float*>(mine.data), size,
             aligned, peers_, order);
    });
  }

  void all_reduce_add_norm(const AddNorm& to, Tensor mine, std::span<const int> merges) override {
    check(to.y, mine, merges);
    require_f32("peer_sum", to.x);
    require_same_shape("peer_sum", to.x, to.y);
    require_same_shape("peer_sum", to.x, to.h);
    const int64_t rows = to.x.rows(), cols = to.x.cols();
    if (rows * cols == 0) return;
    static_assert(kPeerChunk == kHeldColumns);
    if (cols > kMaxRow || rows * chunks_of(cols, kPeerChunk) * kPeerChunk > kMaxPeerNumbers) {
      sum(to.y, mine, merges);
      return add_rms_norm(stream_(), to);
    }
    with_held(to, mine, [&]<class H, int kHeld>(int threads, bool aligned) {
      with_order(merges, [&]<class Order>(const Order& order) {
        launch(stream_(), dim3(static_cast<unsigned>(rows)), threads, kAddNormShared,
               sum_add_norm_rows<H, kHeld, Order>, add_norm_rows<H>(to, aligned), rows_of<const float>(mine),
               peers_, order);
      });
    });
  }

  void abort() override { std::atomic_ref(*reinterpret_cast<uint32_t*>(abort_.get())).store(1); }

 private:
  void check(Tensor y, Tensor mine, std::span<const int> merges) const {
    require(y.dtype == DType::f32 && mine.dtype == DType::f32, "peer_sum", "all is float32");
    require(mine.shape == y.shape && y.stride == y.cols() && mine.stride == mine.cols(), "peer_sum",
            "both shapes must be equal, and contiguous");
    require(merges.size() == static_cast<size_t>(peers_.ranks), "peer_sum", "each rank has one block");
    require(y.rows() * y.cols() <= kMaxPeerNumbers, "peer_sum", "there are too many numbers");
  }

  const std::function<Stream()> stream_;
  Buffer turns_, abort_;
  Peers peers_;
};

}  // namespace

size_t peer_window_bytes(int ranks) {
  return 2 * static_cast<size_t>(ranks) * static_cast<size_t>(kMaxPeerNumbers) * sizeof(uint32_t);
}

std::unique_ptr<PeerAllReduce> make_peer_all_reduce(std::function<Stream()> stream, int rank,
                                                    std::span<std::byte* const> windows) {
  return std::make_unique<Sum>(std::move(stream), rank, windows);
}

}  // namespace lapidary::cuda
