#include "configs/byte_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "configs/error.h"

namespace lapidary {
namespace {

TEST(ByteBudget, WhoWantsMoreThanIsFreeWaits) {
  ByteBudget budget(100, "of things");
  std::atomic<int> served = 0;
  std::thread large, small;
  {
    const ByteBudget::Share first = budget.take(60);
    large = std::thread([&] {
      const ByteBudget::Share share = budget.take(50);
      EXPECT_EQ(served++, 0);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    small = std::thread([&] {  // would fit, and waits behind the large one
      const ByteBudget::Share share = budget.take(10);
      ++served;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(served, 0);
  }
  large.join();
  small.join();
  EXPECT_EQ(served, 2);
  EXPECT_EQ(budget.held(), 0);
  EXPECT_GE(budget.most_held(), 60);
}

TEST(ByteBudget, WhatNeverFitsIsRefused) {
  ByteBudget budget(100, "of things (--things)");
  try {
    budget.take(101);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "takes 101 bytes, more than the 100 that this process may hold of things (--things)");
  }
  EXPECT_EQ(budget.take(100).bytes(), 100);
}

TEST(ByteBudget, AShareIsGivenBackOnceWhereverItWent) {
  std::optional<ByteBudget> budget(std::in_place, 100, "of things");
  ByteBudget::Share share = budget->take(30);
  ByteBudget::Share other = std::move(share);
  EXPECT_EQ(budget->held(), 30);
  other = budget->take(50);  // the first is given back when the second is there
  EXPECT_EQ(budget->held(), 50);
  EXPECT_EQ(budget->most_held(), 80);
  budget.reset();
  EXPECT_EQ(other.bytes(), 50);  // it may outlive the budget
}

TEST(ByteBudget, NobodyWaitsOnceWaitingHasStopped) {
  ByteBudget budget(10, "of things");
  const ByteBudget::Share all = budget.take(10);
  std::thread waiting([&] { EXPECT_EQ(budget.take(7).bytes(), 7); });
  budget.stop_waiting();
  waiting.join();
  EXPECT_EQ(budget.take(8).bytes(), 8);
}

TEST(ByteBudget, ManyThreadsNeverHoldMoreThanThereIs) {
  ByteBudget budget(10, "of things");
  std::atomic<int64_t> held = 0, most = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const int64_t bytes = 1 + (i * 7 + t * 3) % 10;
        const ByteBudget::Share share = budget.take(bytes);
        const int64_t now = held += bytes;
        for (int64_t seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        held -= bytes;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 10);
  EXPECT_EQ(held, 0);
}

}  // namespace
}  // namespace lapidary
