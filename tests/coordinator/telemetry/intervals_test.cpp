#include "coordinator/telemetry/intervals.h"

#include <gtest/gtest.h>

#include <random>

namespace lapidary {
namespace {

/// Nanoseconds, one by one, that any of them covers.
std::vector<bool> covered(const std::vector<Interval>& intervals) {
  std::vector<bool> all(200);
  for (const Interval& interval : intervals)
    for (int64_t i = interval.begin; i < interval.end; ++i) all[static_cast<size_t>(i)] = true;
  return all;
}

TEST(Intervals, UnionAndCommonTimeAgreeWithCountingNanoseconds) {
  std::mt19937 random(5);
  for (int round = 0; round < 500; ++round) {
    const auto draw = [&] {
      std::vector<Interval> all;
      for (unsigned n = random() % 12; n > 0; --n) {
        const int64_t begin = random() % 180;
        all.push_back({begin, begin + static_cast<int64_t>(random() % 20)});
      }
      return all;
    };
    const auto a = draw(), b = draw();
    const auto seen_a = covered(a), seen_b = covered(b);
    int64_t length = 0, common = 0;
    for (size_t i = 0; i < seen_a.size(); ++i) {
      length += seen_a[i];
      common += seen_a[i] && seen_b[i];
    }
    const auto whole = united(a);
    EXPECT_EQ(covered(whole), seen_a);
    for (size_t i = 1; i < whole.size(); ++i) EXPECT_GT(whole[i].begin, whole[i - 1].end);
    EXPECT_EQ(total_length(whole), length);
    EXPECT_EQ(common_length(whole, united(b)), common);
  }
}

}  // namespace
}  // namespace lapidary
