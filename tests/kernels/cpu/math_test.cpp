#include "kernels/cpu/isa/math.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/isa/row_kernels.h"
#include "tests/amx_emulation/emulated_isa.h"

namespace lapidary {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Function = void (*)(float*, int64_t);

/// Largest error over [low, high], in units in the last place of the result.
double worst_ulps(Function f, double (*want)(double), float low, float high) {
  constexpr int kPoints = 100003;  // not a multiple of the lanes
  std::vector<float> x(kPoints);
  for (int i = 0; i < kPoints; ++i)
    x[static_cast<size_t>(i)] = low + (high - low) * static_cast<float>(i) / kPoints;
  std::vector<float> y = x;
  f(y.data(), kPoints);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = want(x[i]);
    const double unit = std::ldexp(1.0, std::max(-126, std::ilogb(exact)) - 23);
    const double ulps = std::fabs(y[i] - exact) / (exact == 0 ? 0x1p-149 : unit);
    worst = ulps <= worst ? worst : ulps;  // a NaN sticks
  }
  return worst;
}

std::vector<float> apply(Function f, std::vector<float> x) {
  f(x.data(), static_cast<int64_t>(x.size()));
  return x;
}

class Math : public testing::TestWithParam<const cpu::Isa*> {
 protected:
  const cpu::RowKernels& rows = *GetParam()->rows;
};

// The bounds are the ones that kernels/cpu/isa/math.h states.
TEST_P(Math, ExpIsWithinTwoUlps) {
  const auto want = [](double x) { return std::exp(x); };
  EXPECT_LE(worst_ulps(rows.exp, want, -87.3f, 88.2f), 2);
  EXPECT_LE(worst_ulps(rows.exp, want, -1.0f, 1.0f), 2);
}

TEST_P(Math, Exp2IsWithinThreeUlps) {
  const auto want = [](double x) { return std::exp2(x); };
  EXPECT_LE(worst_ulps(rows.exp2, want, -125.9f, 0.0f), 3);
  EXPECT_LE(worst_ulps(rows.exp2, want, -1.0f, 1.0f), 3);
}

TEST_P(Math, TanhIsWithinFourUlpsAlsoNearZero) {
  const auto want = [](double x) { return std::tanh(x); };
  EXPECT_LE(worst_ulps(rows.tanh, want, -12.0f, 12.0f), 4);
  EXPECT_LE(worst_ulps(rows.tanh, want, -0.5f, 0.5f), 4);
  EXPECT_LE(worst_ulps(rows.tanh, want, 1e-30f, 1e-3f), 4);
}

TEST_P(Math, LogIsWithinTwoUlps) {
  const auto want = [](double x) { return std::log(x); };
  EXPECT_LE(worst_ulps(rows.log, want, 1e-10f, 25.0f), 2);
  EXPECT_LE(worst_ulps(rows.log, want, 0.99f, 1.01f), 2);
  EXPECT_LE(worst_ulps(rows.log, want, 1.2e-38f, 1e-30f), 2);
}

TEST_P(Math, EndsOfTheRange) {
  EXPECT_THAT(apply(rows.exp, {0.0f, -0.0f, -kInf, kInf, -200.0f, 200.0f}),
              testing::ElementsAre(1.0f, 1.0f, 0.0f, kInf, 0.0f, kInf));
  EXPECT_THAT(apply(rows.exp2, {0.0f, -0.0f, -kInf, -1e30f, -1.0f, 1.0f}),
              testing::ElementsAre(1.0f, 1.0f, 0.0f, 0.0f, 0.5f, 2.0f));
  EXPECT_THAT(apply(rows.tanh, {0.0f, -kInf, kInf, -50.0f, 1e30f}),
              testing::ElementsAre(0.0f, -1.0f, 1.0f, -1.0f, 1.0f));
}

TEST_P(Math, NanStaysNan) {
  for (const Function f : {rows.exp, rows.exp2, rows.tanh, rows.gelu}) {
    const std::vector<float> y = apply(f, {kNan, 0.5f});
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_FALSE(std::isnan(y[1]));
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Math, testing::ValuesIn(cpu::tested_isas()),
                         [](const auto& test) { return cpu::test_name(*test.param); });

}  // namespace
}  // namespace lapidary
