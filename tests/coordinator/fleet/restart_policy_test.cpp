#include "coordinator/fleet/restart_policy.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

TEST(RestartPolicy, WaitsTwiceAsLongEachTimeUpToTheLongest) {
  RestartPolicy policy({.fruitless_starts = 100});
  for (const double wait : {1, 2, 4, 8, 16, 30, 30}) EXPECT_EQ(policy.ended(0.1), wait);
}

TEST(RestartPolicy, AMinuteOfLifeMakesTheWaitingShortAgain) {
  RestartPolicy policy({.fruitless_starts = 100});
  policy.ended(1);
  policy.ended(1);
  EXPECT_EQ(policy.ended(59), 4);
  EXPECT_EQ(policy.ended(60), 1);
  EXPECT_EQ(policy.ended(1), 2);
}

TEST(RestartPolicy, GivesUpAfterFruitlessStartsInARow) {
  RestartPolicy policy({});
  for (int i = 1; i < 5; ++i) EXPECT_TRUE(policy.ended(100)) << i;
  EXPECT_FALSE(policy.ended(100));
}

TEST(RestartPolicy, AStartThatBecameReadyWasNotFruitless) {
  RestartPolicy policy({});
  for (int i = 1; i < 5; ++i) policy.ended(100);
  policy.ready();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(policy.ended(100)) << i;
  EXPECT_FALSE(policy.ended(100));
}

}  // namespace
}  // namespace lapidary
