#include "kernels/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace lapidary {
namespace {

TEST(ThreadPoolTest, RunsEachThreadOnceAndWaitsForAll) {
  for (const int n : {1, 2, 3, 7}) {
    ThreadPool pool(n);
    ASSERT_EQ(pool.size(), n);
    std::vector<int> calls(n);  // not atomic: the join makes them visible
    for (int round = 0; round < 200; ++round) {
      pool.run([&](int thread) { ++calls[thread]; });
      ASSERT_EQ(calls, std::vector<int>(n, round + 1));
    }
  }
}

TEST(ThreadPoolTest, WakesThreadsThatSleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far beyond the time they spin
    std::atomic<int> calls{0};
    pool.run([&](int thread) {
      if (thread == 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ++calls;
    });
    EXPECT_EQ(calls, 3);
  }
}

TEST(ThreadPoolTest, CallerIsThreadZero) {
  ThreadPool pool(2);
  std::vector<std::thread::id> ids(2);
  pool.run([&](int thread) { ids[thread] = std::this_thread::get_id(); });
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_NE(ids[1], ids[0]);
}

TEST(ThreadPoolTest, PartsCoverEverythingOnceAtMultiplesOfTheGrain) {
  for (const int threads : {1, 2, 3, 5}) {
    for (const int64_t n : {0, 1, 7, 16, 100, 1000}) {
      for (const int64_t grain : {1, 4, 16, 2000}) {
        int64_t at = 0, smallest = n, largest = 0;
        for (int t = 0; t < threads; ++t) {
          const auto part = ThreadPool::part_of(n, grain, t, threads);
          ASSERT_EQ(part.begin, at);
          ASSERT_TRUE(part.begin % grain == 0 || part.begin == n);
          smallest = std::min(smallest, part.end - part.begin);
          largest = std::max(largest, part.end - part.begin);
          at = part.end;
        }
        ASSERT_EQ(at, n);
        ASSERT_LT(largest - smallest, 2 * grain);
      }
    }
  }
}

TEST(ThreadPoolTest, ParallelForVisitsEachIndexOnce) {
  ThreadPool pool(3);
  std::vector<int> visits(1001);
  pool.parallel_for(1001, 10, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++visits[i];
  });
  EXPECT_EQ(visits, std::vector<int>(1001, 1));
  pool.parallel_for(0, 10, [&](int64_t, int64_t) { ADD_FAILURE() << "no part of nothing"; });
}

TEST(ThreadPoolTest, ThrowsTheLowestThreadsExceptionAndGoesOn) {
  ThreadPool pool(4);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> ended{0};
    try {
      pool.run([&](int thread) {
        ++ended;
        if (thread > 1) throw std::runtime_error(std::to_string(thread));
      });
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "2");
    }
    EXPECT_EQ(ended, 4);
    EXPECT_NO_THROW(pool.run([](int) {}));
  }
}

TEST(ThreadPoolTest, ManyMoreThreadsThanCoresMakeProgress) {
  // Eight ranks on one machine, all in the midst of short operations.
  std::vector<std::thread> ranks;
  std::atomic<int64_t> total{0};
  for (int rank = 0; rank < 8; ++rank) {
    ranks.emplace_back([&] {
      ThreadPool pool(4);
      for (int i = 0; i < 100; ++i) pool.run([&](int) { total.fetch_add(1, std::memory_order_relaxed); });
    });
  }
  for (auto& rank : ranks) rank.join();
  EXPECT_EQ(total, 8 * 4 * 100);
}

TEST(ThreadPoolTest, RefusesToBeEmpty) { EXPECT_THROW(ThreadPool(0), std::logic_error); }

TEST(ThreadPoolTest, KnowsItsCores) {
  EXPECT_GE(available_cores(), 1);
  EXPECT_LE(available_cores(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace lapidary
