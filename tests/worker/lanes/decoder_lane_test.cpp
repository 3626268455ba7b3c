#include "worker/lanes/decoder_lane.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace lapidary {
namespace {

/// An executor of functions, and who hears of the steps that it has done.
struct Parts {
  std::function<void(const wire::Step&)> start;
  std::function<bool()> ready;
  std::function<wire::StepDone()> finish;
  std::function<void(wire::StepDone)> done;
  std::function<bool()> progress;
};

class PartsExecutor : public StepExecutor {
 public:
  explicit PartsExecutor(Parts parts) : parts_(std::move(parts)) {}
  void start(const wire::Step& step) override { parts_.start(step); }
  bool ready() override { return parts_.ready(); }
  wire::StepDone finish() override { return parts_.finish(); }
  bool progress() override { return parts_.progress && parts_.progress(); }

 private:
  Parts parts_;
};

struct HeldExecutor {
  PartsExecutor executor;
};

class TestLane : private HeldExecutor, public DecoderLane {
 public:
  TestLane(Parts parts, SpanRecorder& recorder)
      : HeldExecutor{PartsExecutor(parts)}, DecoderLane(executor, recorder, parts.done) {}
};

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

/// A lane whose steps are done when they are started: as on a device in host memory.
Parts at_once(std::function<wire::StepDone(const wire::Step&)> run, std::function<void(wire::StepDone)> done,
              std::function<bool()> progress) {
  auto last = std::make_shared<wire::StepDone>();
  return {[run, last](const wire::Step& step) { *last = run(step); }, [] { return true; },
          [last] { return *last; }, std::move(done), std::move(progress)};
}

TEST(DecoderLane, StepsRunInOrderOnTheThreadThatRunsTheLane) {
  SpanRecorder recorder(true);
  std::vector<uint64_t> ran, told;
  const auto here = std::this_thread::get_id();
  TestLane lane(at_once(
                    [&](const wire::Step& s) {
                      EXPECT_EQ(std::this_thread::get_id(), here);
                      ran.push_back(s.number());
                      return done_of(s);
                    },
                    [&](wire::StepDone done) {
                      EXPECT_EQ(ran.size(), done.number());  // at once, not at the next step
                      told.push_back(done.number());
                    },
                    {}),
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
  SpanRecorder recorder(false);
  TestLane lane(at_once(done_of, [](wire::StepDone) {}, {}), recorder);
  lane.add(step(1));
  EXPECT_THROW(lane.add(step(3)), std::logic_error);
  EXPECT_THROW(lane.add(step(1)), std::logic_error);
  lane.add(step(2));
}

TEST(DecoderLane, FinishRunsWhatWaitsAndStopDropsIt) {
  for (const bool finish : {true, false}) {
    SpanRecorder recorder(false);
    std::vector<uint64_t> ran;
    DecoderLane* self = nullptr;
    TestLane lane(at_once(
                      [&](const wire::Step& s) {
                        ran.push_back(s.number());
                        if (s.number() == 2) finish ? self->finish() : self->stop();
                        return done_of(s);
                      },
                      [](wire::StepDone) {}, {}),
                  recorder);
    self = &lane;
    for (uint64_t n = 1; n <= 5; ++n) lane.add(step(n));
    lane.run();
    EXPECT_EQ(ran.size(), finish ? 5u : 2u);
  }
}

TEST(DecoderLane, AWaitingLaneIsEndedFromOutside) {
  for (const bool finish : {true, false}) {
    SpanRecorder recorder(false);
    std::promise<void> waiting;
    std::atomic<bool> told = false;
    TestLane lane(at_once(
                      done_of, [](wire::StepDone) {},
                      [&] {
                        if (!told.exchange(true)) waiting.set_value();
                        return false;
                      }),
                  recorder);
    auto running = std::async(std::launch::async, [&] { lane.run(); });
    waiting.get_future().wait();
    finish ? lane.finish() : lane.stop();
    running.get();
  }
}

TEST(DecoderLane, MessagesUnderWayAreMovedOnWhileNoStepWaits) {
  SpanRecorder recorder(false);
  std::promise<void> delivered;
  int left = 20;
  TestLane lane(at_once(
                    done_of, [](wire::StepDone) {},
                    [&] {
                      if (left > 0 && --left == 0) delivered.set_value();
                      return left > 0;
                    }),
                recorder);
  auto running = std::async(std::launch::async, [&] { lane.run(); });
  delivered.get_future().wait();  // by calls of `progress` alone
  lane.add(step(1, true));
  running.get();
}

TEST(DecoderLane, WhatAStepThrowsComesThrough) {
  SpanRecorder recorder(false);
  TestLane lane(at_once([](const wire::Step&) -> wire::StepDone { throw std::runtime_error("broken"); },
                        [](wire::StepDone) { FAIL() << "a broken step is not done"; }, {}),
                recorder);
  lane.add(step(1));
  EXPECT_THROW(lane.run(), std::runtime_error);
}

TEST(DecoderLane, IdleIsWhatLiesBetweenStepsWhenNoneWaits) {
  SpanRecorder recorder(true);
  DecoderLane* self = nullptr;
  std::promise<void> first_done;
  TestLane lane(at_once(
                    [&](const wire::Step& s) {
                      if (s.number() == 2) self->add(step(3, true));  // waits before step 2 is done
                      return done_of(s);
                    },
                    [&](wire::StepDone done) {
                      if (done.number() == 1) first_done.set_value();
                    },
                    {}),
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

/// A device that is done with a step when it was asked for the third time, or is waited for; notes who did
/// what.
struct Device {
  std::vector<std::string> log;
  std::deque<wire::Step> started;
  bool quick = false;  // all that was started is done
  int asked = 0;

  Parts parts() {
    return {[this](const wire::Step& step) {
              log.push_back("start " + std::to_string(step.number()));
              started.push_back(step);
            },
            [this] { return ++asked == 3 || quick; },
            [this] {
              asked = 0;
              const wire::Step step = started.front();
              started.pop_front();
              return done_of(step);
            },
            [this](wire::StepDone done) { log.push_back("done " + std::to_string(done.number())); },
            {}};
  }
};
using Log = std::vector<std::string>;

TEST(DecoderLane, TheNextStepIsStartedBeforeTheEndOfTheLastIsWaitedFor) {
  SpanRecorder recorder(true);
  Device device;
  TestLane lane(device.parts(), recorder);
  for (uint64_t n = 1; n <= 4; ++n) lane.add(step(n, n == 4));
  lane.run();
  EXPECT_EQ(device.log,
            (Log{"start 1", "start 2", "done 1", "start 3", "done 2", "start 4", "done 3", "done 4"}));
  wire::Heartbeat beat;
  recorder.take(beat);
  ASSERT_EQ(beat.spans_size(), 4);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(beat.spans(i).number(), static_cast<uint64_t>(i) + 1);
    EXPECT_LE(beat.spans(i).begin(), beat.spans(i).end());
    // None counts another's time.
    EXPECT_GE(beat.spans(i).begin(), i > 0 ? beat.spans(i - 1).end() : 0);
  }
}

TEST(DecoderLane, AStepThatIsDoneOrHasNoNextIsToldAtOnce) {
  for (const bool quick : {true, false}) {
    SpanRecorder recorder(false);
    Device device;
    device.quick = quick;
    DecoderLane* self = nullptr;
    auto parts = device.parts();
    parts.done = [&, tell = parts.done](wire::StepDone done) {
      const uint64_t number = done.number();
      tell(std::move(done));
      if (!quick && number < 3) self->add(step(number + 1, number == 2));  // only now
    };
    TestLane lane(std::move(parts), recorder);
    self = &lane;
    for (uint64_t n = 1; n <= (quick ? 3u : 1u); ++n) lane.add(step(n, n == 3));
    lane.run();
    EXPECT_EQ(device.log, (Log{"start 1", "done 1", "start 2", "done 2", "start 3", "done 3"}));
  }
}

TEST(DecoderLane, AStepThatComesWhileOneRunsIsStartedBehindIt) {
  SpanRecorder recorder(false);
  Device device;
  DecoderLane* self = nullptr;
  auto parts = device.parts();
  uint64_t added = 1;
  parts.ready = [&, ready = parts.ready] {
    if (added < 3) {
      ++added;
      self->add(step(added, added == 3));
    }
    return ready();
  };
  TestLane lane(std::move(parts), recorder);
  self = &lane;
  lane.add(step(1));
  lane.run();
  EXPECT_EQ(device.log, (Log{"start 1", "start 2", "done 1", "start 3", "done 2", "done 3"}));
}

TEST(DecoderLane, WhatWasStartedIsFinishedWhenTheLaneEnds) {
  SpanRecorder recorder(false);
  Device device;
  DecoderLane* self = nullptr;
  auto parts = device.parts();
  parts.start = [&, begin = parts.start](const wire::Step& s) {
    begin(s);
    if (s.number() == 2) self->stop();
  };
  TestLane lane(std::move(parts), recorder);
  self = &lane;
  for (uint64_t n = 1; n <= 3; ++n) lane.add(step(n));
  lane.run();
  EXPECT_EQ(device.log, (Log{"start 1", "start 2", "done 1", "done 2"}));
}

TEST(DecoderLane, WhatTheEndOfAStepThrowsComesThrough) {
  SpanRecorder recorder(false);
  Device device;
  auto parts = device.parts();
  parts.finish = []() -> wire::StepDone { throw std::runtime_error("broken"); };
  TestLane lane(std::move(parts), recorder);
  lane.add(step(1));
  lane.add(step(2));
  EXPECT_THROW(lane.run(), std::runtime_error);
  EXPECT_EQ(device.log, (Log{"start 1", "start 2"}));
}

}  // namespace
}  // namespace lapidary
