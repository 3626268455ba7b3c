// From logits to tokens and to the token_table that the next step's embedding reads, without the host.
#include <algorithm>
#include <limits>

#include "kernels/draw.h"
#include "tests/kernels/kernel_test.h"

namespace lapidary {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class TokenSampling : public KernelTest {
 protected:
  /// Numbers in the device's memory.
  Tensor ints(int64_t rows, int64_t cols, int32_t value = -7) {
    buffers.push_back(ops.allocate(static_cast<size_t>(rows * cols) * sizeof(int32_t)));
    const Tensor tensor = view(buffers.back().get(), DType::i32, rows, cols);
    std::vector<int32_t> values(static_cast<size_t>(rows * cols), value);
    ops.copy(tensor, view(values.data(), DType::i32, rows, cols));
    return tensor;
  }
  std::vector<int32_t> fetched(Tensor x) {
    std::vector<int32_t> values(static_cast<size_t>(x.rows() * x.cols()));
    ops.copy(view(values.data(), DType::i32, x.rows(), x.cols()), x);
    return values;
  }
  std::vector<std::vector<Candidate>> lists(Tensor found) {
    const auto values = fetched(found);
    std::vector<std::vector<Candidate>> lists(static_cast<size_t>(found.rows()));
    for (size_t i = 0; i < values.size(); i += 2)
      lists[i / static_cast<size_t>(found.cols())].push_back(
          {values[i], std::bit_cast<float>(values[i + 1])});
    return lists;
  }

  Device device{choice};
  Backend& ops = device.ops;
  std::vector<Buffer> buffers;
};

using Draws = std::vector<SamplingParams>;
constexpr SamplingParams kGreedy{};
SamplingParams plain(float temperature, uint64_t seed, int64_t position) {
  return {temperature, seed, position};
}
SamplingParams restricted(float temperature, uint64_t seed, int64_t position, int32_t k, float p = 1) {
  return {temperature, seed, position, k, p};
}

void expect_equal(const std::vector<Candidate>& got, std::vector<Candidate> want, size_t width) {
  want.resize(width, kNoCandidate);
  ASSERT_EQ(got.size(), width);
  for (size_t i = 0; i < width; ++i) {
    ASSERT_EQ(got[i].token, want[i].token) << i;
    ASSERT_EQ(got[i].logit, want[i].logit) << i;
  }
}

/// top_candidates() against its parts: soft-cap, noise, top_k.
void check_candidates(Backend& ops, const Rows& plain_logits, float cap, const Draws& sampling,
                      const std::vector<std::vector<Candidate>>& got, int64_t first, size_t width) {
  Rows logits = plain_logits;
  if (cap > 0) ops.softcap(logits.tensor(), cap);
  ops.add_gumbel_noise(logits.tensor(), first, sampling);
  for (size_t r = 0; r < sampling.size(); ++r) {
    const int k = sampling[r].restricted() ? sampling[r].top_k : 1;
    expect_equal(got[r], ops.top_k(logits.tensor_of_row(static_cast<int64_t>(r)), first, k)[0], width);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST_P(TokenSampling, CandidatesAreSoftcapNoiseAndTopK) {
  const Draws sampling{kGreedy, plain(0.7f, 5, 9), restricted(1, 6, 2, 40), restricted(2, 7, 3, 256, 0.5f),
                       plain(1.5f, 1, 1)};
  constexpr int64_t kFirst = 3000, kRows = 5;
  for (const int64_t cols : {1, 3, 39, 300, 4096, 4097, 9001}) {
    for (const float cap : {0.0f, 2.5f}) {
      const Rows plain_logits = Rows::random(kRows, cols, static_cast<uint32_t>(cols), 3);
      Rows logits = plain_logits;
      const Tensor found = ints(kRows, 2 * 256);
      ops.top_candidates(found, logits.tensor(), kFirst, cap, sampling);
      check_candidates(ops, plain_logits, cap, sampling, lists(found), kFirst, 256);
      if (HasFatalFailure()) return;
      EXPECT_TRUE(logits.gaps_untouched());
    }
  }
}

TEST_P(TokenSampling, CandidatesBreakTiesByTokenAndTakeNanForTheLowest) {
  constexpr int64_t kCols = 5000;
  Rows logits = Rows::random(4, kCols, 1);
  for (int64_t c = 0; c < kCols; ++c) {
    logits.at(0, c) = std::round(logits.at(0, c));  // zeros of both signs among them
    logits.at(1, c) = 3;
    logits.at(2, c) = c == 4500 ? -kInf : kNan;
    if (c % 2 == 0) logits.at(3, c) = kNan;
  }
  const Draws sampling(4, restricted(1, 1, 1, 70));
  const Rows before_noise = logits;
  const Tensor found = ints(4, 2 * 100);
  ops.top_candidates(found, logits.tensor(), 0, 0, sampling);
  check_candidates(ops, before_noise, 0, sampling, lists(found), 0, 100);
  const Tensor greedy = ints(4, 2);
  logits = before_noise;
  ops.top_candidates(greedy, logits.tensor(), 10, 0, Draws(4));
  check_candidates(ops, before_noise, 0, Draws(4), lists(greedy), 10, 1);
}

/// The same logits cut among 1, 2 and 5 ranks, unevenly, one with fewer tokens than are listed.
TEST_P(TokenSampling, RanksSampleWhatOneAloneDrawsOnTheHost) {
  constexpr int64_t kCols = 700;
  Draws sampling{kGreedy, plain(0.9f, 3, 4)};
  for (uint64_t seed = 0; seed < 20; ++seed)
    sampling.push_back(restricted(1.3f, seed, 7, seed % 2 == 0 ? 33 : 64, seed % 3 == 0 ? 0.6f : 1.0f));
  const auto rows = std::ssize(sampling);
  const Rows plain_logits = Rows::random(rows, kCols, 12, 2);
  Rows whole = plain_logits;
  ops.add_gumbel_noise(whole.tensor(), 0, sampling);
  std::vector<int32_t> want;
  for (int64_t r = 0; r < rows; ++r) {
    const SamplingParams& draw = sampling[static_cast<size_t>(r)];
    const auto best = ops.top_k(whole.tensor_of_row(r), 0, draw.restricted() ? draw.top_k : 1)[0];
    want.push_back(draw.restricted() ? draw_token(best, draw) : best[0].token);
  }
  for (const auto& cuts :
       std::vector<std::vector<int64_t>>{{0, kCols}, {0, 20, kCols}, {0, 100, 101, 400, 690, kCols}}) {
    const auto ranks = std::ssize(cuts) - 1;
    const Tensor found = ints(ranks * rows, 2 * 64), tokens = ints(rows, 1);
    for (int64_t k = 0; k < ranks; ++k) {
      Rows logits = plain_logits;
      const int64_t begin = cuts[static_cast<size_t>(k)], end = cuts[static_cast<size_t>(k) + 1];
      ops.top_candidates(found.row_range(k * rows, (k + 1) * rows), logits.tensor().col_range(begin, end),
                         begin, 0, sampling);
      ops.synchronize();
    }
    ops.sample(tokens, found, sampling);
    EXPECT_EQ(fetched(tokens), want) << ranks;
  }
}

TEST_P(TokenSampling, ATieBetweenRanksGoesToTheLowerToken) {
  const Tensor found = ints(4, 2), tokens = ints(2, 1);  // two ranks, two rows
  std::vector<int32_t> values{9, std::bit_cast<int32_t>(2.0f), 40, std::bit_cast<int32_t>(-0.0f),
                              7, std::bit_cast<int32_t>(2.0f), 41, std::bit_cast<int32_t>(0.0f)};
  ops.copy(found, view(values.data(), DType::i32, 4, 2));
  ops.sample(tokens, found, Draws(2));
  EXPECT_EQ(fetched(tokens), (std::vector<int32_t>{7, 40}));
}

TEST_P(TokenSampling, TokensGoToTheirSlotsAndTheEmbeddingReadsThemThere) {
  constexpr int64_t kTokens = 50, kCols = 33, kFirst = 10;
  Rows table = Rows::random(kTokens, kCols, 3);
  Matrix w = ops.make_matrix(kTokens, kCols, DType::f32, SumPlan::whole(kCols));
  ops.pack(w, 0, table.tensor());
  const Tensor token_table = ints(6, 1, 11), tokens = ints(3, 1);
  std::vector<int32_t> drawn{30, 59, 60};
  ops.copy(tokens, view(drawn.data(), DType::i32, 3, 1));
  const std::vector<int32_t> slots{4, 0, 5};
  ops.scatter(token_table, slots, tokens);
  EXPECT_EQ(fetched(token_table), (std::vector<int32_t>{59, 11, 11, 11, 30, 60}));

  const std::vector<int32_t> ids{Backend::token_slot_id(4), 20, Backend::token_slot_id(5),
                                 Backend::token_slot_id(0), Backend::token_slot_id(1)};
  const std::vector<int64_t> rows{20, 10, -1, 49, 1};  // token 60 is another rank's
  Rows y(5, kCols, 7);
  ops.embed(y.tensor(), w, ids, token_table, kFirst, 2);
  ops.synchronize();
  for (int64_t r = 0; r < 5; ++r) {
    const int64_t row = rows[static_cast<size_t>(r)];
    for (int64_t c = 0; c < kCols; ++c) ASSERT_EQ(y.at(r, c), row < 0 ? 0 : table.at(row, c) * 2) << r;
  }
}

TEST_P(TokenSampling, RefusesWhatCannotBe) {
  Rows logits(2, 100);
  const Tensor found = ints(2, 2 * 8), tokens = ints(2, 1), token_table = ints(3, 1);
  const auto best = [&](const Draws& sampling) {
    ops.top_candidates(found, logits.tensor(), 0, 0, sampling);
  };
  EXPECT_THROW(best(Draws(1)), std::logic_error);
  EXPECT_THROW(best({kGreedy, restricted(1, 0, 0, 9)}), std::logic_error);  // a list of 8
  EXPECT_THROW(best({kGreedy, restricted(1, 0, 0, 0, 0.5f)}), std::logic_error);
  EXPECT_THROW(best({kGreedy, restricted(1, 0, 0, Backend::kMaxCandidates + 1)}), std::logic_error);
  EXPECT_THROW(ops.sample(tokens, found, Draws(1)), std::logic_error);
  EXPECT_THROW(ops.scatter(token_table, std::vector<int32_t>{0, 3}, tokens), std::logic_error);
  EXPECT_THROW(ops.scatter(token_table, std::vector<int32_t>{0, -1}, tokens), std::logic_error);
  EXPECT_THROW(ops.scatter(token_table, std::vector<int32_t>{0}, tokens), std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Device, TokenSampling, testing::ValuesIn(tested_devices()), kTestNameOfDevice);

}  // namespace
}  // namespace lapidary
