#include "worker/lanes/span_recorder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace lapidary {
namespace {

TEST(SpanRecorder, SumsAreOfTheWholeTimeSpansOfTheTimeSinceTheLastTake) {
  SpanRecorder recorder(true);
  recorder.add(wire::Span::STEP, 100, 150, 1);
  recorder.add(wire::Span::SUM, 110, 120, 1);
  wire::Heartbeat first, second;
  recorder.take(first);
  recorder.add(wire::Span::STEP, 200, 230, 2);
  recorder.take(second);
  ASSERT_EQ(first.spans_size(), 2);
  EXPECT_EQ(first.spans(0).kind(), wire::Span::STEP);
  EXPECT_EQ(first.spans(0).begin(), 100);
  EXPECT_EQ(first.spans(0).end(), 150);
  EXPECT_EQ(first.spans(1).kind(), wire::Span::SUM);
  ASSERT_EQ(second.spans_size(), 1);
  EXPECT_EQ(second.spans(0).number(), 2u);
  ASSERT_EQ(second.busy_size(), wire::Span::Kind_ARRAYSIZE);
  EXPECT_EQ(second.busy(wire::Span::STEP), 80);
  EXPECT_EQ(second.busy(wire::Span::SUM), 10);
  EXPECT_EQ(second.busy(wire::Span::ENCODE), 0);
}

TEST(SpanRecorder, WithoutSpansThereAreSums) {
  SpanRecorder recorder(false);
  recorder.add(wire::Span::ENCODE, 5, 12, 4);
  wire::Heartbeat beat;
  recorder.take(beat);
  EXPECT_EQ(beat.spans_size(), 0);
  EXPECT_EQ(beat.busy(wire::Span::ENCODE), 7);
}

TEST(SpanRecorder, WhatNobodyTakesIsBoundedAndItsSumsAreWhole) {
  SpanRecorder recorder(true);
  constexpr int64_t kMany = static_cast<int64_t>(SpanRecorder::kMaxSpans) + 1000;
  for (int64_t i = 0; i < kMany; ++i) recorder.add(wire::Span::SUM, 0, 1, static_cast<uint64_t>(i));
  wire::Heartbeat beat;
  recorder.take(beat);
  EXPECT_EQ(beat.spans_size(), static_cast<int>(SpanRecorder::kMaxSpans));
  EXPECT_EQ(beat.spans(0).number(), 0u);
  EXPECT_EQ(beat.busy(wire::Span::SUM), kMany);
}

TEST(SpanRecorder, ManyThreadsAddWhileOneTakes) {
  SpanRecorder recorder(true);
  constexpr uint64_t kThreads = 4, kEach = 10'000;
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kEach; ++i) recorder.add(wire::Span::STEP, 0, 3, t * kEach + i);
      --running;
    });
  std::vector<uint64_t> next(kThreads, 0);  // of each thread, in order
  int64_t busy = 0;
  for (bool last = false; !last;) {
    last = running == 0;
    wire::Heartbeat beat;
    recorder.take(beat);
    busy = beat.busy(wire::Span::STEP);
    for (const wire::Span& span : beat.spans())
      EXPECT_EQ(span.number() % kEach, next[span.number() / kEach]++);
  }
  for (std::thread& thread : threads) thread.join();
  for (const uint64_t n : next) EXPECT_EQ(n, kEach);
  EXPECT_EQ(busy, static_cast<int64_t>(kThreads * kEach * 3));
}

}  // namespace
}  // namespace lapidary
