#include "configs/wire/heartbeat_monitor.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

using namespace std::chrono_literals;

constexpr HeartbeatMonitor::Time kStart{1000s};

TEST(HeartbeatMonitor, APeerIsDeadOnceItWasSilentForLonger) {
  HeartbeatMonitor monitor(10s, kStart);
  for (auto time = 1s; time <= 10s; time += 1s) EXPECT_FALSE(monitor.is_dead(kStart + time)) << time.count();
  EXPECT_TRUE(monitor.is_dead(kStart + 11s));
}

TEST(HeartbeatMonitor, WhatIsHeardKeepsItAlive) {
  HeartbeatMonitor monitor(10s, kStart);
  for (auto time = 1s; time <= 30s; time += 1s) {
    if (time <= 15s) monitor.heard(kStart + time);
    EXPECT_EQ(monitor.is_dead(kStart + time), time > 25s) << time.count();
  }
}

TEST(HeartbeatMonitor, AThreadThatWasHeldUpItselfJudgesNobody) {
  HeartbeatMonitor monitor(10s, kStart);
  EXPECT_FALSE(monitor.is_dead(kStart + 100s));
  EXPECT_FALSE(monitor.is_dead(kStart + 104s));
  EXPECT_FALSE(monitor.is_dead(kStart + 108s));
  EXPECT_TRUE(monitor.is_dead(kStart + 111s));
}

TEST(HeartbeatMonitor, ABeatEchoesTheOtherClockAndHowLongAgoThatWas) {
  HeartbeatMonitor monitor(10s, kStart);
  EXPECT_EQ(monitor.beat(kStart).echo(), 0);
  wire::Heartbeat theirs;
  theirs.set_clock(77);
  monitor.heard(theirs, kStart + 1s);
  const wire::Heartbeat ours = monitor.beat(kStart + 3s);
  EXPECT_EQ(ours.echo(), 77);
  EXPECT_EQ(ours.echo_delay(), 2'000'000'000);
  EXPECT_EQ(ours.clock(), 1'003'000'000'000);
}

TEST(HeartbeatMonitor, TwoBeatsTellHowFarClocksAreApart) {
  // The worker's clock is 500 s ahead; each way takes 1 s; it answers 4 s after it was asked.
  HeartbeatMonitor coordinator(60s, kStart), worker(60s, kStart + 500s);
  const wire::Heartbeat asked = coordinator.beat(kStart);
  worker.heard(asked, kStart + 501s);
  const wire::Heartbeat answered = worker.beat(kStart + 505s);
  const ClockOffset found = clock_offset(answered, kStart + 6s);
  EXPECT_EQ(found.offset, 500'000'000'000);
  EXPECT_EQ(found.round_trip, 2'000'000'000);
  EXPECT_LT(clock_offset(asked, kStart).round_trip, 0);
}

TEST(HeartbeatMonitor, ClocksThatCannotBeAreNotCompared) {
  wire::Heartbeat beat;
  beat.set_clock(INT64_MIN);
  beat.set_echo(INT64_MAX);
  beat.set_echo_delay(INT64_MIN);
  EXPECT_LT(clock_offset(beat, kStart).round_trip, 0);
}

}  // namespace
}  // namespace lapidary
