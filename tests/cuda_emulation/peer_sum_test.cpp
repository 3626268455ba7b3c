#include "kernels/cuda/peer_sum.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>
#include <vector>

namespace lapidary::cuda {
namespace {

/// A rank on a device of its own.
struct Rank {
  explicit Rank(int index)
      : stream(make(index)), memory(allocate_shared(4 * kMostPeerNumbers * sizeof(float))) {}
  ~Rank() { destroy(stream); }
  static Stream make(int index) {
    use_device(index);
    return make_stream(false);
  }
  Tensor numbers(int64_t at, int64_t n) {
    return view(memory.get() + at * kMostPeerNumbers * static_cast<int64_t>(sizeof(float)), DType::f32, 1, n);
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
      sums.push_back(make_peer_sum(ranks_of[static_cast<size_t>(r)]->stream, r, at));
  }
  void synchronize() {
    for (const auto& rank : ranks_of) cuda::synchronize(rank->stream);
  }

  std::vector<std::unique_ptr<Rank>> ranks_of;
  std::vector<Buffer> windows;
  std::vector<std::unique_ptr<PeerSum>> sums;
};

TEST(PeerSum, AddsInTheOrderAskedForAgainAndAgain) {
  const std::vector<std::vector<int>> merges{{0, 1}, {0, 1, 1}, {0, 1, 0, 2}, {0, 1, 0, 2, 0, 1, 0, 3}};
  for (const std::vector<int>& order : merges) {
    const auto ranks = order.size();
    Peers peers(static_cast<int>(ranks));
    // Sizes change from sum to sum, so that blocks count differently; the streams run without the host.
    const std::vector<int64_t> sizes{1, 513, 7, 512, 2000, 0, 2000, 3};
    for (size_t s = 0; s < sizes.size(); ++s)
      for (size_t r = 0; r < ranks; ++r) {
        Rank& rank = *peers.ranks_of[r];
        std::vector<float> mine(static_cast<size_t>(sizes[s]));
        // Powers of two that lose bits in another order.
        for (size_t i = 0; i < mine.size(); ++i)
          mine[i] = (r % 3 == 1 ? 0x1p24f : 0.5f) * static_cast<float>(1 + (i + s) % 5);
        const Tensor from = rank.numbers(s % 2, sizes[s]);
        copy(rank.stream, from.data, mine.data(), mine.size() * sizeof(float));
        peers.sums[r]->sum(rank.numbers(2 + static_cast<int64_t>(s % 2), sizes[s]), from, order);
        if (r + 1 == ranks) peers.synchronize();
        if (r + 1 < ranks) continue;
        for (size_t i = 0; i < mine.size(); ++i) {
          std::vector<float> stack;
          for (size_t from_rank = 0; from_rank < ranks; ++from_rank) {
            stack.push_back((from_rank % 3 == 1 ? 0x1p24f : 0.5f) * static_cast<float>(1 + (i + s) % 5));
            for (int m = 0; m < order[from_rank]; ++m) {
              const float high = stack.back();
              stack.pop_back();
              stack.back() += high;
            }
          }
          for (const auto& each : peers.ranks_of)
            ASSERT_EQ(each->numbers(2 + static_cast<int64_t>(s % 2), sizes[s]).row<float>(0)[i], stack[0])
                << ranks << " ranks, sum " << s << " at " << i;
        }
      }
  }
}

TEST(PeerSum, AnAbortEndsTheWaitForARankThatDoesNotCome) {
  Peers peers(2);
  Rank& rank = *peers.ranks_of[0];
  const std::vector<int> order{0, 1};
  peers.sums[0]->sum(rank.numbers(2, 600), rank.numbers(0, 600), order);
  const Event event = make_event();
  record(event, rank.stream);
  EXPECT_FALSE(done(event));
  peers.sums[0]->abort();
  wait(event);
  destroy(event);
}

TEST(PeerSum, RefusesWhatItCannotAdd) {
  Peers peers(2);
  Rank& rank = *peers.ranks_of[0];
  const auto refuses = [&](int64_t y, int64_t mine, const std::vector<int>& order) {
    EXPECT_THROW(peers.sums[0]->sum(rank.numbers(2, y), rank.numbers(0, mine), order), std::logic_error);
  };
  refuses(4, 5, {0, 1});
  refuses(kMostPeerNumbers + 1, kMostPeerNumbers + 1, {0, 1});
  refuses(4, 4, {0, 1, 1});
  refuses(4, 4, {0, 0});
  refuses(4, 4, {1, 0});
}

}  // namespace
}  // namespace lapidary::cuda
