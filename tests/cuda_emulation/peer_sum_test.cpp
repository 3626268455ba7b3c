#include "kernels/cuda/peer/peer_sum.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "tests/cuda_emulation/peers.h"

namespace lapidary::cuda {
namespace {

TEST(PeerAllReduce, AddsInTheOrderAskedForAgainAndAgain) {
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

TEST(PeerAllReduce, AnAbortEndsTheWaitForARankThatDoesNotCome) {
  Peers peers(2);
  Rank& rank = *peers.ranks_of[0];
  const std::vector<int> order{0, 1};
  peers.sums[0]->sum(rank.numbers(2, 600), rank.numbers(0, 600), order);
  const Tensor h = rank.numbers(2, 600), x = rank.numbers(3, 600);
  peers.sums[0]->all_reduce_add_norm({h, x, h, x.row<float>(0), nullptr, 0}, rank.numbers(0, 600), order);
  const Event event = make_event();
  record(event, rank.stream);
  EXPECT_FALSE(done(event));
  peers.sums[0]->abort();
  wait(event);
  destroy(event);
}

TEST(PeerAllReduce, RefusesWhatItCannotAdd) {
  Peers peers(2);
  Rank& rank = *peers.ranks_of[0];
  const auto refuses = [&](int64_t y, int64_t mine, const std::vector<int>& order) {
    EXPECT_THROW(peers.sums[0]->sum(rank.numbers(2, y), rank.numbers(0, mine), order), std::logic_error);
  };
  refuses(4, 5, {0, 1});
  refuses(kMaxPeerNumbers + 1, kMaxPeerNumbers + 1, {0, 1});
  refuses(4, 4, {0, 1, 1});
  refuses(4, 4, {0, 0});
  refuses(4, 4, {1, 0});
  const Tensor y = rank.numbers(2, 4), x = rank.numbers(3, 5);
  EXPECT_THROW(peers.sums[0]->all_reduce_add_norm({y, x, y, nullptr, nullptr, 0}, rank.numbers(0, 4), {}),
               std::logic_error);
}

}  // namespace
}  // namespace lapidary::cuda
