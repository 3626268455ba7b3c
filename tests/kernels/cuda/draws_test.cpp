#include <algorithm>
#include <numeric>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/isa/detect.h"
#include "tests/kernels/kernel_test.h"

// What sampling_test.cpp does not reach: rows cut among blocks, more candidates than fit at once, and the
// noise bit by bit.

namespace lapidary {
namespace {

class Draws : public KernelTest {
 protected:
  Device device{choice};
  Backend& ops = device.ops;
};

TEST_P(Draws, HaveTheNoiseOfProcessorsWithAFusedMultiplyAdd) {
  const auto isas = cpu::available_isas();
  if (isas.front() == &cpu::portable_isa()) GTEST_SKIP() << "this machine's processor has none";
  constexpr int64_t kTokens = 60000, kFirst = 200000;
  ThreadPool threads(1);
  cpu::CpuBackend processor(threads, *isas.front());
  Rows here = Rows::random(2, kTokens, 1, 5), there = here;
  const std::vector<SamplingParams> sampling{{0.7f, 1234567, 89}, {1.5f, 0xfedcba9876543210u, 4112}};
  ops.add_gumbel_noise(here.tensor(), kFirst, sampling);
  ops.synchronize();
  processor.add_gumbel_noise(there.tensor(), kFirst, sampling);
  EXPECT_TRUE(here.same_bits(there));
}

/// The k first of a row by (logit, token).
std::vector<Candidate> best_of(const Rows& logits, int64_t r, size_t k) {
  std::vector<Candidate> all;
  for (int64_t c = 0; c < logits.cols(); ++c) all.push_back({static_cast<int32_t>(c), logits.at(r, c)});
  const auto before = [](Candidate a, Candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
  };
  std::partial_sort(all.begin(), all.begin() + static_cast<int64_t>(k), all.end(), before);
  all.resize(k);
  return all;
}

void check_top_k(Backend& ops, Rows& logits, int k) {
  const auto got = ops.top_k(logits.tensor(), 0, k);
  ASSERT_EQ(got.size(), static_cast<size_t>(logits.rows()));
  for (int64_t r = 0; r < logits.rows(); ++r) {
    const auto& row = got[static_cast<size_t>(r)];
    const auto want = best_of(logits, r, static_cast<size_t>(std::min<int64_t>(k, logits.cols())));
    ASSERT_EQ(row.size(), want.size());
    for (size_t i = 0; i < row.size(); ++i) {
      ASSERT_EQ(row[i].token, want[i].token) << k << ": " << i;
      ASSERT_EQ(row[i].logit, want[i].logit);
    }
  }
}

TEST_P(Draws, TopKOfRowsThatSeveralBlocksShare) {
  Rows logits = Rows::random(2, 40001, 2);
  for (int64_t c = 0; c < logits.cols(); ++c) logits.at(1, c) = std::round(4 * logits.at(1, c));  // many ties
  for (const int k : {1, 3, 64, 5000}) check_top_k(ops, logits, k);
}

TEST_P(Draws, TopKOfMoreCandidatesThanFitAtOnce) {
  Rows logits = Rows::random(70, 6000, 3);
  check_top_k(ops, logits, 5000);
}

TEST_P(Draws, TopKSeesWhatTheStreamHasYetToDo) {
  Rows logits = Rows::random(1, 5000, 4), turned = logits;
  for (int64_t c = 0; c < 5000; ++c) turned.at(0, c) = -3 * logits.at(0, c);
  ops.scale(logits.tensor(), -3);
  const auto got = ops.top_k(logits.tensor(), 0, 2);
  EXPECT_EQ(got[0][1].token, best_of(turned, 0, 2)[1].token);
}

INSTANTIATE_TEST_SUITE_P(Device, Draws, testing::ValuesIn(tested_devices()), kTestNameOfDevice);

}  // namespace
}  // namespace lapidary
