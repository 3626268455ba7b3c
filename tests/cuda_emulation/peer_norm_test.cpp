// Sums over ranks that come with the norm behind them: the bits of the two apart.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "kernels/cuda/rows/add_norms.h"
#include "tests/cuda_emulation/kernel_count.h"
#include "tests/cuda_emulation/peers.h"
#include "tests/cuda_emulation/stream.h"

namespace lapidary::cuda {
namespace {

const std::vector<std::vector<int>> kOrders{{0, 1}, {0, 1, 1}, {0, 1, 0, 2}, {0, 1, 0, 2, 0, 1, 0, 3}};

/// One residual stream on a rank, of which the others have copies: rows of x, gains, and what a sum adds.
struct Residual {
  Residual(int64_t rows_, int64_t cols_, DType type_, bool with_pre_)
      : rows(rows_),
        cols(cols_),
        type(type_),
        with_pre(with_pre_),
        memory(allocate_shared(static_cast<size_t>(4 * rows * cols + 2 * cols) * sizeof(float))) {}

  float* at(int64_t block) const { return reinterpret_cast<float*>(memory.get()) + block * rows * cols; }
  Tensor mine() const { return view(at(0), DType::f32, rows, cols); }
  AddNorm to() const {
    const float* gains = at(4);
    return {view(at(3), type, rows, cols),       view(at(1), DType::f32, rows, cols),
            view(at(2), DType::f32, rows, cols), gains,
            with_pre ? gains + cols : nullptr,   1e-6f};
  }
  void fill(uint32_t shared, uint32_t own) {
    std::mt19937 common(shared), apart(own);
    std::normal_distribution<float> normal(0, 2), normal_apart(0, 2);
    for (int64_t i = 0; i < rows * cols; ++i) {
      at(0)[i] = normal_apart(apart);
      at(1)[i] = normal(common);
      at(2)[i] = at(3)[i] = 7;
    }
    for (int64_t i = 0; i < 2 * cols; ++i) at(4)[i] = normal(common);
  }
  std::vector<std::byte> bytes(Tensor tensor) const {
    const auto* first = static_cast<const std::byte*>(tensor.data);
    return {first, first + static_cast<size_t>(rows * cols) * size_of(tensor.dtype)};
  }

  int64_t rows, cols;
  DType type;
  bool with_pre;
  Buffer memory;
};

/// A residual stream on each rank, and one on rank 0's device where sum and norm are apart.
struct Case {
  Case(Peers& peers_, int64_t rows, int64_t cols, DType type, bool with_pre)
      : peers(peers_), apart(rows, cols, type, with_pre) {
    for (size_t r = 0; r < peers.ranks_of.size(); ++r)
      ranks.push_back(std::make_unique<Residual>(rows, cols, type, with_pre));
    fill(1);
  }
  void fill(uint32_t seed) {
    apart.fill(seed, 0);
    for (size_t r = 0; r < ranks.size(); ++r) ranks[r]->fill(seed, 100 * seed + static_cast<uint32_t>(r));
  }
  void together(size_t r, const std::vector<int>& order) {
    peers.sums[r]->all_reduce_add_norm(ranks[r]->to(), ranks[r]->mine(), order);
  }
  /// What it should come to, while the devices do nothing.
  void do_apart(const std::vector<int>& order) {
    for (int64_t i = 0; i < apart.rows * apart.cols; ++i) {
      std::vector<float> stack;
      for (size_t r = 0; r < ranks.size(); ++r) {
        stack.push_back(ranks[r]->at(0)[i]);
        for (int m = 0; m < order[r]; ++m) {
          const float high = stack.back();
          stack.pop_back();
          stack.back() += high;
        }
      }
      apart.at(2)[i] = stack[0];
    }
    use_device(0);
    add_rms_norm(peers.ranks_of[0]->stream, apart.to());
    peers.synchronize();
  }
  void expect_equal() const {
    for (const auto& rank : ranks) {
      ASSERT_TRUE(rank->bytes(rank->to().x) == apart.bytes(apart.to().x));
      ASSERT_TRUE(rank->bytes(rank->to().h) == apart.bytes(apart.to().h));  // also where it is not touched
    }
  }

  Peers& peers;
  Residual apart;
  std::vector<std::unique_ptr<Residual>> ranks;
};

/// The rank's device comes late to what it is given next.
void delay(Stream stream, std::chrono::microseconds time) {
  emulation::submit(stream, [time] { std::this_thread::sleep_for(time); });
}

TEST(PeerNorm, IsTheBitsOfSumAndNormApart) {
  // 4608 is more than a thread holds at once; the last two are more than a block does, with sums and without.
  const std::vector<int64_t> widths{1, 3, 16, 33, 130, 1152, 2306, 4608, 6148, 8200};
  for (const std::vector<int>& order : kOrders) {
    Peers peers(static_cast<int>(order.size()));
    for (size_t w = 0; w < widths.size(); ++w) {
      const int64_t rows = widths[w] < 1000 ? 1 + static_cast<int64_t>(w + order.size()) % 9 : 1 + (w % 2);
      Case one(peers, rows, widths[w], w % 2 == 0 ? DType::bf16 : DType::f32, w % 3 != 0);
      const int64_t before = emulation::kernels_run();
      for (size_t r = 0; r < order.size(); ++r) one.together(r, order);
      peers.synchronize();
      if (widths[w] <= 6144) {
        EXPECT_EQ(emulation::kernels_run() - before, std::ssize(order));
      }
      one.do_apart(order);
      one.expect_equal();
      if (testing::Test::HasFatalFailure())
        FAIL() << order.size() << " ranks, " << rows << " x " << widths[w];
    }
  }
}

// A rank may begin the next sum while another reads the last: no sum may then find the words of another one,
// whatever their kinds and sizes.
TEST(PeerNorm, SumsOfAllKindsFollowEachOtherWhileRanksComeLate) {
  for (const std::vector<int>& order : {kOrders[0], kOrders[2]}) {
    const auto ranks = order.size();
    Peers peers(static_cast<int>(ranks));
    std::vector<std::unique_ptr<Case>> cases;
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 600}, {9, 37}, {2, 1030}, {5, 64}})
      cases.push_back(std::make_unique<Case>(peers, rows, cols, DType::f32, true));
    std::mt19937 random(7);
    std::vector<size_t> given;
    for (int s = 0; s < 40; ++s) {
      const size_t which = random() % cases.size();
      given.push_back(which);
      const auto plain = static_cast<int64_t>(random() % 1500);
      for (size_t r = 0; r < ranks; ++r) {
        if (random() % 4 == 0) delay(peers.ranks_of[r]->stream, std::chrono::microseconds(random() % 500));
        cases[which]->together(r, order);
        Rank& rank = *peers.ranks_of[r];
        if (s % 3 == 0) peers.sums[r]->sum(rank.numbers(2, plain), rank.numbers(0, plain), order);
      }
    }
    peers.synchronize();
    for (const size_t which : given) cases[which]->do_apart(order);  // x goes on from one to the next
    for (const auto& each : cases) each->expect_equal();
    if (testing::Test::HasFatalFailure()) FAIL() << ranks << " ranks";
  }
}

TEST(PeerNorm, IsReplayedInAGraph) {
  const std::vector<int>& order = kOrders[2];
  Peers peers(static_cast<int>(order.size()));
  Case first(peers, 3, 130, DType::bf16, true), second(peers, 1, 600, DType::f32, false);
  std::vector<Graph> graphs;
  for (size_t r = 0; r < order.size(); ++r) {  // three sums: the halves change from one replay to the next
    Rank& rank = *peers.ranks_of[r];
    use_device(static_cast<int>(r));
    begin_capture(rank.stream);
    first.together(r, order);
    peers.sums[r]->sum(rank.numbers(2, 700), rank.numbers(0, 700), order);
    second.together(r, order);
    graphs.push_back(end_capture(rank.stream));
  }
  constexpr int kReplays = 5;
  for (int i = 0; i < kReplays; ++i)
    for (size_t r = 0; r < order.size(); ++r) {
      use_device(static_cast<int>(r));
      run_graph(graphs[r], peers.ranks_of[r]->stream);
    }
  peers.synchronize();
  for (int i = 0; i < kReplays; ++i) first.do_apart(order), second.do_apart(order);
  first.expect_equal();
  second.expect_equal();
  for (const Graph graph : graphs) destroy(graph);
}

}  // namespace
}  // namespace lapidary::cuda
