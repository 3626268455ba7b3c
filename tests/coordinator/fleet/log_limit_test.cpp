#include "coordinator/fleet/log_limit.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

using namespace std::chrono_literals;

constexpr LogLimit::Time kStart{1000s};

TEST(LogLimit, LinesBeyondTheLimitAreCountedInstead) {
  LogLimit limit(2, 60s);
  EXPECT_TRUE(limit.admits(kStart));
  EXPECT_TRUE(limit.admits(kStart + 1s));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(limit.admits(kStart + 2s));
  EXPECT_EQ(limit.take_held_back(kStart + 59s), 0);
  EXPECT_EQ(limit.take_held_back(kStart + 60s), 5);
  EXPECT_EQ(limit.take_held_back(kStart + 61s), 0);
  EXPECT_TRUE(limit.admits(kStart + 61s));
}

TEST(LogLimit, NothingIsForgottenWhenANewSpanBegins) {
  LogLimit limit(1, 60s);
  limit.admits(kStart);
  limit.admits(kStart);
  EXPECT_TRUE(limit.admits(kStart + 61s));
  EXPECT_EQ(limit.take_held_back(kStart + 122s), 1);
}

}  // namespace
}  // namespace lapidary
