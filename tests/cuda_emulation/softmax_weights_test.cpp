#include "kernels/cuda/attention/softmax_weights.cuh"

#include <gtest/gtest.h>

namespace lapidary::cuda {
namespace {

/// Largest relative error of cap · tanh(y) over |y| in [begin, end].
double worst_error(float cap, double begin, double end) {
  const Exponents exponents(1, cap);
  double worst = 0;
  for (int i = 1; i <= 100000; ++i)
    for (const float sign : {1.0f, -1.0f}) {
      const float y = sign * static_cast<float>(begin + (end - begin) * i / 100000);
      const float x = std::fabs(y) > 1 ? tanh_far(y, exponents) : tanh_near(y, exponents);
      const double want = double{cap} * std::tanh(double{y});
      worst = std::max(worst, std::fabs(double{x} / 1.4426950408889634 - want) / std::fabs(want));
    }
  return worst;
}

TEST(CudaSoftcap, PolynomialBelowTheCap) {
  // 6e-7 for the polynomial and 1.5 ulp for its last two steps; the constant cap · log2(e) is half an ulp
  // off.
  EXPECT_LT(worst_error(50, 0, 1), 6e-7 + 4 * 0x1p-24);
  EXPECT_LT(worst_error(1.5f, 0, 1), 6e-7 + 4 * 0x1p-24);
}

TEST(CudaSoftcap, ExponentialAboveTheCap) {
  // 2 / (e^2y + 1) is below 0.24 and has the error of a power whose exponent is rounded (up to 9 · 2^-24 of
  // it where it counts) and of a few steps.
  EXPECT_LT(worst_error(50, 1, 4), 6 * 0x1p-24);
  EXPECT_LT(worst_error(50, 4, 1000), 4 * 0x1p-24);
}

}  // namespace
}  // namespace lapidary::cuda
