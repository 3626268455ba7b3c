#include "kernels/cuda/attention/prefill_choice.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/cuda/attention_device.h"

// The choice between the kernels of a prefill: by what was measured, and never of one that is wrong.

namespace lapidary::cuda {
namespace {

PrefillTrial trial(double warps, double warpgroups, float apart) {
  PrefillTrial t;
  t.warps = warps;
  t.warpgroups = warpgroups;
  t.apart = apart;
  return t;
}

TEST(PrefillChoice, TheFasterOneThatIsRight) {
  EXPECT_EQ(trial(2, 1, 0).better(), PrefillKernel::warpgroups);
  EXPECT_EQ(trial(1, 2, 0).better(), PrefillKernel::warps);
  EXPECT_EQ(trial(2, 1, 2 * PrefillTrial::kBound).better(), PrefillKernel::warps);
  EXPECT_EQ(trial(2, 1, NAN).better(), PrefillKernel::warps);
  EXPECT_EQ(PrefillTrial{}.better(), PrefillKernel::warps);
}

TEST(PrefillChoice, BothKernelsAgree) {
  if (prefill_kernels().size() < 2) GTEST_SKIP() << "this GPU has no products of warpgroups";
  for (const auto& [head_dim, softcap] : {std::pair{72, 0.0f}, {128, 50.0f}, {256, 50.0f}}) {
    const PrefillTrial tried = try_prefill(kStream, head_dim, 70, 2, softcap, 1);
    EXPECT_TRUE(tried.agree()) << head_dim << ": " << tried.apart;
    EXPECT_GT(tried.warps, 0);
    EXPECT_GT(tried.warpgroups, 0);
  }
}

TEST(PrefillChoice, OnlyWhatTheDeviceAndTheHeadHave) {
  DeviceInfo with, without;
  with.warpgroups = true;
  EXPECT_EQ(PrefillChoice(PrefillMode::warpgroups, with).of(72), PrefillKernel::warpgroups);
  EXPECT_EQ(PrefillChoice(PrefillMode::warpgroups, with).of(64), PrefillKernel::warps);
  EXPECT_EQ(PrefillChoice(PrefillMode::warps, with).of(128), PrefillKernel::warps);
  EXPECT_EQ(PrefillChoice(PrefillMode::measured, with).of(128), PrefillKernel::warps);  // until it is
  EXPECT_EQ(PrefillChoice(PrefillMode::measured, without).of(128), PrefillKernel::warps);
  EXPECT_THROW(PrefillChoice(PrefillMode::warpgroups, without), std::runtime_error);
}

TEST(PrefillChoice, IsMadeOnceAndTold) {
  if (prefill_kernels().size() < 2) GTEST_SKIP() << "this GPU has no products of warpgroups";
  DeviceInfo device;
  device.warpgroups = true;
  device.multiprocessors = 1;
  PrefillChoice choice(PrefillMode::measured, device);
  EXPECT_EQ(choice.told(), "");
  choice.make(kStream, 64, 1);
  EXPECT_EQ(choice.told(), "");
  choice.make(kStream, 256, 1);
  const std::string told = choice.told();
  EXPECT_NE(told.find("heads of 256 by warp"), std::string::npos) << told;
  EXPECT_EQ(told.find("disagree"), std::string::npos) << told;
  choice.make(kStream, 256, 1);
  EXPECT_EQ(choice.told(), told);
}

}  // namespace
}  // namespace lapidary::cuda
