#include "worker/decoder_lane.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>

namespace lapidary {
namespace {

wire::Step step(uint64_t number, bool stop = false) {
  wire::Step step;
  step.set_number(number);
  step.set_stop(stop);
  return step;
}

wire::StepDone done_of(const wire::Step& step) {
  wire::StepDone done;
  done.set_number(step.number());
  return done;
}

TEST(DecoderLane, StepsRunInOrderOnTheThreadThatRunsTheLane) {
  Recorder recorder(true);
  std::vector<uint64_t> ran, told;
  const auto here = std::this_thread::get_id();
  DecoderLane lane({[&](const wire::Step& s) {
                      EXPECT_EQ(std::this_thread::get_id(), here);
                      ran.push_back(s.number());
                      return done_of(s);
                    },
                    [&](wire::StepDone done) {
                      EXPECT_EQ(ran.size(), done.number());  // at once, not at the next step
                      told.push_back(done.number());
                    },
                    {}},
                   recorder);
  constexpr uint64_t kSteps = 500;
  std::thread control([&] {
    for (uint64_t n = 1; n <= kSteps; ++n) lane.add(step(n, n == kSteps));
  });
  lane.run();
  control.join();
  ASSERT_EQ(ran.size(), kSteps);
  for (uint64_t n = 1; n <= kSteps; ++n) EXPECT_EQ(ran[n - 1], n);
  EXPECT_EQ(told, ran);
}

TEST(DecoderLane, AStepLeftOutIsNotRunPast) {
  Recorder recorder(false);
  DecoderLane lane({done_of, [](wire::StepDone) {}, {}}, recorder);
  lane.add(step(1));
  EXPECT_THROW(lane.add(step(3)), std::logic_error);
  EXPECT_THROW(lane.add(step(1)), std::logic_error);
  lane.add(step(2));
}

TEST(DecoderLane, FinishRunsWhatWaitsAndStopDropsIt) {
  for (const bool finish : {true, false}) {
    Recorder recorder(false);
    std::vector<uint64_t> ran;
    DecoderLane* self = nullptr;
    DecoderLane lane({[&](const wire::Step& s) {
                        ran.push_back(s.number());
                        if (s.number() == 2) finish ? self->finish() : self->stop();
                        return done_of(s);
                      },
                      [](wire::StepDone) {},
                      {}},
                     recorder);
    self = &lane;
    for (uint64_t n = 1; n <= 5; ++n) lane.add(step(n));
    lane.run();
    EXPECT_EQ(ran.size(), finish ? 5u : 2u);
  }
}

TEST(DecoderLane, AWaitingLaneIsEndedFromOutside) {
  for (const bool finish : {true, false}) {
    Recorder recorder(false);
    std::promise<void> waiting;
    std::atomic<bool> told = false;
    DecoderLane lane({done_of, [](wire::StepDone) {},
                      [&] {
                        if (!told.exchange(true)) waiting.set_value();
                        return false;
                      }},
                     recorder);
    auto running = std::async(std::launch::async, [&] { lane.run(); });
    waiting.get_future().wait();
    finish ? lane.finish() : lane.stop();
    running.get();
  }
}

TEST(DecoderLane, MessagesUnderWayAreMovedOnWhileNoStepWaits) {
  Recorder recorder(false);
  std::promise<void> delivered;
  int left = 20;
  DecoderLane lane({done_of, [](wire::StepDone) {},
                    [&] {
                      if (left > 0 && --left == 0) delivered.set_value();
                      return left > 0;
                    }},
                   recorder);
  auto running = std::async(std::launch::async, [&] { lane.run(); });
  delivered.get_future().wait();  // by calls of `progress` alone
  lane.add(step(1, true));
  running.get();
}

TEST(DecoderLane, WhatAStepThrowsComesThrough) {
  Recorder recorder(false);
  DecoderLane lane({[](const wire::Step&) -> wire::StepDone { throw std::runtime_error("broken"); },
                    [](wire::StepDone) { FAIL() << "a broken step is not done"; },
                    {}},
                   recorder);
  lane.add(step(1));
  EXPECT_THROW(lane.run(), std::runtime_error);
}

TEST(DecoderLane, IdleIsWhatLiesBetweenStepsWhenNoneWaits) {
  Recorder recorder(true);
  DecoderLane* self = nullptr;
  std::promise<void> first_done;
  DecoderLane lane({[&](const wire::Step& s) {
                      if (s.number() == 2) self->add(step(3, true));  // waits before step 2 is done
                      return done_of(s);
                    },
                    [&](wire::StepDone done) {
                      if (done.number() == 1) first_done.set_value();
                    },
                    {}},
                   recorder);
  self = &lane;
  auto running = std::async(std::launch::async, [&] { lane.run(); });
  lane.add(step(1));
  first_done.get_future().wait();
  wire::Heartbeat beat;
  recorder.take(beat);
  ASSERT_EQ(beat.spans_size(), 1);  // waiting for the very first step is not counted
  EXPECT_EQ(beat.spans(0).kind(), wire::Span::STEP);
  lane.add(step(2));
  running.get();
  wire::Heartbeat rest;
  recorder.take(rest);
  std::vector<std::pair<int, uint64_t>> steps;
  int idles = 0;
  for (const wire::Span& span : rest.spans()) {
    EXPECT_LE(span.begin(), span.end());
    if (span.kind() == wire::Span::STEP) steps.emplace_back(span.kind(), span.number());
    if (span.kind() != wire::Span::IDLE) continue;
    EXPECT_EQ(span.number(), 2u);
    ++idles;
  }
  EXPECT_EQ(steps.size(), 2u);
  EXPECT_LE(idles, 1);  // none where step 2 came before the lane looked
}

}  // namespace
}  // namespace lapidary
