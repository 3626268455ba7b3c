#include "worker/lanes/task_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace lapidary {
namespace {

TEST(TaskPool, GivesBackResultsAndExceptions) {
  TaskPool pool(3);
  std::vector<std::future<int>> squares;
  for (int i = 0; i < 50; ++i) squares.push_back(pool.submit([i] { return i * i; }));
  auto broken = pool.submit([]() -> int { throw std::runtime_error("no"); });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(squares[static_cast<size_t>(i)].get(), i * i);
  EXPECT_THROW(broken.get(), std::runtime_error);
}

TEST(TaskPool, TasksRunBesideEachOther) {
  TaskPool pool(2);
  std::promise<void> first, second;
  auto one = pool.submit([&] { first.set_value(), second.get_future().wait(); });
  auto two = pool.submit([&] { second.set_value(), first.get_future().wait(); });
  EXPECT_EQ(one.wait_for(std::chrono::seconds(60)), std::future_status::ready);
  EXPECT_EQ(two.wait_for(std::chrono::seconds(60)), std::future_status::ready);
}

TEST(TaskPool, WhatHasNotBegunIsDroppedAtTheEnd) {
  std::future<void> running, dropped;
  std::promise<void> begun, go_on;
  std::thread closing;
  {
    auto pool = std::make_unique<TaskPool>(1);
    running = pool->submit([&] { begun.set_value(), go_on.get_future().wait(); });
    dropped = pool->submit([] {});
    begun.get_future().wait();
    closing = std::thread([p = std::move(pool)]() mutable { p.reset(); });
  }
  // The only worker is busy until here, so it can't have begun the second task before the end did.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  go_on.set_value();
  closing.join();
  EXPECT_NO_THROW(running.get());
  EXPECT_THROW(dropped.get(), std::future_error);
}

}  // namespace
}  // namespace lapidary
