#include "coordinator/telemetry/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int64_t kMs = 1'000'000;

/// A heartbeat with spans and the sums that belong to them.
class Beat {
 public:
  explicit Beat(wire::Heartbeat before = {}) {
    *beat_.mutable_busy() = before.busy();
    while (beat_.busy_size() < wire::Span::Kind_ARRAYSIZE) beat_.add_busy(0);
  }
  /// In milliseconds.
  Beat& add(wire::Span::Kind kind, double begin, double end, uint64_t number = 0) {
    wire::Span& span = *beat_.add_spans();
    span.set_kind(kind);
    span.set_begin(static_cast<int64_t>(begin * kMs));
    span.set_end(static_cast<int64_t>(end * kMs));
    span.set_number(number);
    beat_.set_busy(kind, beat_.busy(kind) + span.end() - span.begin());
    return *this;
  }
  Beat& add_prefill(double begin, double end) {
    add(wire::Span::STEP, begin, end);
    beat_.mutable_spans()->rbegin()->set_prefills(true);
    return *this;
  }
  Beat& without_spans() {
    beat_.clear_spans();
    return *this;
  }
  operator const wire::Heartbeat&() const { return beat_; }

 private:
  wire::Heartbeat beat_;
};

HeartbeatMonitor::Time at(int64_t nanoseconds) {
  return HeartbeatMonitor::Time(std::chrono::nanoseconds(nanoseconds));
}

boost::json::array parsed(const std::string& text) { return boost::json::parse(text).as_array(); }

TEST(Timeline, SharesOfOneRank) {
  Timeline timeline({});
  // 100 ms: steps 10..50 and 60..90, of which 8 + 6 collectives; the vision lane 0..30 and 80..100.
  timeline.take(0, 0,
                Beat()
                    .add(wire::Span::ENCODE, 0, 30, 4)
                    .add(wire::Span::SUM, 20, 28, 1)
                    .add(wire::Span::STEP, 10, 50, 1)
                    .add(wire::Span::IDLE, 50, 60, 2)
                    .add(wire::Span::SUM, 70, 76, 2)
                    .add(wire::Span::STEP, 60, 90, 2)
                    .add(wire::Span::ENCODE, 80, 100, 2));
  const TimelineSummary summary = timeline.summary();
  const RankTimes& rank = summary.ranks.at(0);
  EXPECT_DOUBLE_EQ(rank.observed, 0.1);
  EXPECT_DOUBLE_EQ(rank.decoder_share(), 0.7);
  EXPECT_DOUBLE_EQ(rank.vision_share(), 0.5);
  EXPECT_DOUBLE_EQ(rank.sum_share(), 0.2);
  EXPECT_DOUBLE_EQ(rank.receive_share(), 0);
  // Both were busy in 10..30 and 80..90; the vision lane, the shorter one, was for 50.
  EXPECT_DOUBLE_EQ(summary.replicas.at(0).overlap.value(), 0.6);
  EXPECT_FALSE(summary.replicas.at(0).bubble);
  EXPECT_EQ(summary.gaps.count, 0);  // the second step was waited for
  EXPECT_THAT(summary.text(), HasSubstr("70.0%"));
  EXPECT_THAT(summary.text(), HasSubstr("overlap 60.0%"));
}

TEST(Timeline, TheBubbleIsWhatStagesWaitBetweenFirstAndLastStep) {
  Timeline timeline({.tp = 1, .pp = 2, .replicas = 1, .vision_ranks = 0});
  // Stage 0 computes 0..40 and 50..90; stage 1 40..80, and 90..100 after waiting inside its step for 10.
  timeline.take(0, 0,
                Beat()
                    .add(wire::Span::STEP, 0, 40, 1)
                    .add(wire::Span::IDLE, 40, 50, 2)
                    .add(wire::Span::STEP, 50, 90, 2));
  timeline.take(0, 1,
                Beat()
                    .add(wire::Span::STEP, 40, 80, 1)
                    .add(wire::Span::RECEIVE, 80, 90, 2)
                    .add(wire::Span::STEP, 80, 100, 2));
  const TimelineSummary summary = timeline.summary();
  EXPECT_NEAR(summary.replicas.at(0).bubble.value(), 1 - 130.0 / 200, 1e-12);
  EXPECT_FALSE(summary.replicas.at(0).overlap);  // no vision lane was busy
  EXPECT_THAT(summary.text(), HasSubstr("pipeline bubble 35.0%"));
}

TEST(Timeline, GapsAreBetweenStepsThatFollowEachOtherAtOnce) {
  Timeline timeline({});
  // 100 gaps of 1 … 100 µs between steps of 1 ms, in any order, over several heartbeats.
  double now = 5;
  Beat beat;
  beat.add(wire::Span::STEP, now, now + 1, 1);
  now += 1;
  for (uint64_t i = 0; i < 100; ++i) {
    now += static_cast<double>(i * 37 % 100 + 1) / 1000;
    beat.add(wire::Span::STEP, now, now + 1, i + 2);
    now += 1;
    if (i % 10 == 9) {
      timeline.take(0, 0, beat);
      beat.without_spans();  // sums go on
    }
  }
  // Not gaps: the lane was idle; a step is missing in between.
  beat.add(wire::Span::IDLE, now, now + 30, 102).add(wire::Span::STEP, now + 30, now + 31, 102);
  beat.add(wire::Span::STEP, now + 90, now + 91, 104);
  timeline.take(0, 0, beat);
  const StepGaps gaps = timeline.summary().gaps;
  EXPECT_EQ(gaps.count, 100);
  EXPECT_NEAR(gaps.median_us, 50, 0.01);
  EXPECT_NEAR(gaps.p99_us, 99, 0.01);
  EXPECT_NEAR(gaps.median_of_step, 0.05, 1e-4);
  EXPECT_NEAR(gaps.p99_of_step, 0.099, 1e-4);
}

TEST(Timeline, DecodesAreComparedBesideAnEncodeOfTheirRankAndAlone) {
  Mesh mesh;
  mesh.replicas = 2;
  Timeline timeline(mesh);
  timeline.take(0, 0,
                Beat()
                    .add(wire::Span::ENCODE, 0, 20)
                    .add(wire::Span::ENCODE, 20, 60)
                    .add_prefill(0, 10)
                    .add(wire::Span::STEP, 10, 22)  // beside both
                    .add(wire::Span::STEP, 30, 44)  // beside the second
                    .add(wire::Span::STEP, 55, 65)  // neither
                    .add(wire::Span::STEP, 60, 70)  // alone: it begins when the encode has ended
                    .add_prefill(70, 80));
  timeline.take(1, 0, Beat().add(wire::Span::STEP, 30, 35));  // has no encodes
  const DecodesBesideEncodes decodes = timeline.summary().decode_steps;
  EXPECT_EQ(decodes.beside, 2);
  EXPECT_EQ(decodes.alone, 1);
  EXPECT_DOUBLE_EQ(decodes.beside_median_ms, 12);
  EXPECT_DOUBLE_EQ(decodes.beside_p99_ms, 14);
  EXPECT_DOUBLE_EQ(decodes.alone_median_ms, 10);
  EXPECT_THAT(
      timeline.summary().text(),
      HasSubstr("decode steps: median 10.0 ms, p99 10.0 ms; beside an encode median 12.0 ms (120.0%), "
                "p99 14.0 ms\n"));
}

TEST(Timeline, WithoutSpansThereAreSums) {
  Timeline timeline({.tp = 1, .pp = 2, .replicas = 1, .vision_ranks = 0});
  timeline.take(0, 0,
                Beat()
                    .add(wire::Span::STEP, 0, 60, 1)
                    .add(wire::Span::SUM, 0, 15)
                    .add(wire::Span::IDLE, 60, 80)
                    .add(wire::Span::ENCODE, 0, 20)
                    .without_spans());
  timeline.take(0, 1,
                Beat()
                    .add(wire::Span::STEP, 0, 50, 1)
                    .add(wire::Span::RECEIVE, 0, 30)
                    .add(wire::Span::IDLE, 50, 80)
                    .without_spans());
  const TimelineSummary summary = timeline.summary();
  EXPECT_DOUBLE_EQ(summary.ranks.at(0).observed, 0.08);
  EXPECT_DOUBLE_EQ(summary.ranks.at(0).decoder_share(), 0.75);
  EXPECT_DOUBLE_EQ(summary.ranks.at(0).sum_share(), 0.25);
  EXPECT_DOUBLE_EQ(summary.ranks.at(0).vision_share(), 0.25);
  EXPECT_DOUBLE_EQ(summary.ranks.at(1).receive_share(), 0.6);
  EXPECT_DOUBLE_EQ(summary.replicas.at(0).bubble.value(), 0.5);  // computed 60 + 20 of 2 * 80
  EXPECT_FALSE(summary.replicas.at(0).overlap);
  EXPECT_EQ(summary.gaps.count, 0);
  EXPECT_THAT(summary.text(), Not(HasSubstr("between steps")));
}

TEST(Timeline, AReplacedProcessAddsToItsRanksSums) {
  Timeline timeline({});
  timeline.take(0, 0, Beat().add(wire::Span::STEP, 0, 60, 1).without_spans());
  timeline.take(0, 0, Beat().add(wire::Span::STEP, 0, 10, 1).without_spans());
  timeline.take(0, 0, Beat().add(wire::Span::STEP, 0, 25, 1).without_spans());
  EXPECT_DOUBLE_EQ(timeline.summary().ranks.at(0).step, 0.085);
}

TEST(Timeline, SpansOfOtherClocksAreMovedByTheBestComparison) {
  const Mesh mesh{.tp = 1, .pp = 1, .replicas = 1, .vision_ranks = 1};
  Timeline timeline(mesh);
  constexpr int64_t kAhead = 7'000'000 * kMs;  // of the vision rank's clock
  // Sent when its clock showed `sent`; there and back again took `way_out` and `way_in`.
  const auto compare = [&](int64_t sent, int64_t way_out, int64_t way_in, Beat beat) {
    wire::Heartbeat heartbeat = beat;
    heartbeat.set_clock(sent);
    heartbeat.set_echo_delay(3 * kMs);
    heartbeat.set_echo(sent - kAhead - 3 * kMs - way_out);
    timeline.take(0, 1, heartbeat, at(sent - kAhead + way_in));
  };
  const auto spans = [](double begin, double end) {
    return Beat().add(wire::Span::ENCODE, 7'000'000 + begin, 7'000'000 + end, 1);
  };
  compare(kAhead + 100 * kMs, kMs, kMs, Beat());           // even ways: exact
  compare(kAhead + 200 * kMs, 2 * kMs, 60 * kMs, Beat());  // worse: not believed
  compare(kAhead + 300 * kMs, 2 * kMs, 50 * kMs, spans(10, 20));
  timeline.take(0, 0, Beat().add(wire::Span::STEP, 10, 20, 1), at(300 * kMs));
  EXPECT_DOUBLE_EQ(timeline.summary().ranks.at(0).observed, 0.01);  // both at once
  EXPECT_DOUBLE_EQ(timeline.summary().replicas.at(0).overlap.value(), 1);
  // Days later clocks have drifted apart: a comparison that would have been too coarse is the best there is.
  constexpr int64_t kLater = 200'000'000 * kMs;
  compare(kAhead + kLater, 40 * kMs, 0, Beat());
  compare(kAhead + kLater, 40 * kMs, 0, Beat().add(wire::Span::ENCODE, 7'000'000 + 30, 7'000'000 + 40, 1));
  EXPECT_DOUBLE_EQ(timeline.summary().ranks.at(0).observed,
                   0.01);  // 30 is now 10: half of the way back was wrong
}

TEST(Timeline, TheTraceIsJsonAfterEveryHeartbeat) {
  const TempFolder folder;
  const auto path = folder / "trace.json";
  const Mesh mesh{.tp = 2, .pp = 1, .replicas = 2, .vision_ranks = 1};
  Timeline timeline(mesh, path);
  std::map<int64_t, std::string> processes;
  for (const auto& event : parsed(folder.read("trace.json")))
    if (event.at("name") == "process_name")
      processes[event.at("pid").as_int64()] = event.at("args").at("name").as_string();
  ASSERT_EQ(processes.size(), 6u);
  EXPECT_EQ(processes[1], "replica 0 rank 1 (stage 0)");
  EXPECT_EQ(processes[5], "replica 1 rank 2 (vision)");

  size_t before = parsed(folder.read("trace.json")).size();
  timeline.take(1, 1,
                Beat()
                    .add(wire::Span::SUM, 2, 3.5, 7)
                    .add(wire::Span::RECEIVE, 4, 5, 7)
                    .add(wire::Span::STEP, 1, 9, 7)
                    .add(wire::Span::IDLE, 9, 10, 8));
  auto events = parsed(folder.read("trace.json"));
  ASSERT_EQ(events.size(), before + 4);
  const boost::json::object sum = events[before].as_object();
  EXPECT_EQ(sum.at("ph"), "X");
  EXPECT_EQ(sum.at("pid"), 4);
  EXPECT_EQ(sum.at("name"), "collective");
  EXPECT_DOUBLE_EQ(sum.at("dur").to_number<double>(), 1500);
  const boost::json::object step = events[before + 2].as_object();
  EXPECT_EQ(step.at("name"), "decode");
  EXPECT_EQ(step.at("args").at("step"), 7);
  EXPECT_NE(step.at("tid"), sum.at("tid"));
  EXPECT_NEAR(sum.at("ts").to_number<double>() - step.at("ts").to_number<double>(), 1000, 0.01);

  before = events.size();
  Beat many;
  for (int i = 0; i < 20'000; ++i) many.add(wire::Span::ENCODE, i, i + 0.5, 3);
  timeline.take(0, 2, many);
  events = parsed(folder.read("trace.json"));
  ASSERT_EQ(events.size(), before + 20'000);
  EXPECT_EQ(events.back().at("args").at("images"), 3);
  std::map<std::pair<int64_t, int64_t>, std::string> threads;
  for (const auto& event : events)
    if (event.at("name") == "thread_name")
      threads[{event.at("pid").as_int64(), event.at("tid").as_int64()}] =
          event.at("args").at("name").as_string();
  EXPECT_EQ((threads[{2, events.back().at("tid").as_int64()}]), "vision lane");
  EXPECT_EQ((threads[{4, step.at("tid").as_int64()}]), "decoder lane");
  EXPECT_EQ((threads[{4, sum.at("tid").as_int64()}]), "collectives");
  timeline.finish();
}

TEST(Timeline, ATraceThatCannotBeWrittenIsAnError) {
  EXPECT_EQ(error_of([] { Timeline({}, "/nowhere/trace.json"); }), "/nowhere/trace.json: cannot be written");
  Timeline full({}, "/dev/full");
  EXPECT_THAT(error_of([&] { full.finish(); }), HasSubstr("/dev/full: could not be written whole"));
}

}  // namespace
}  // namespace lapidary
