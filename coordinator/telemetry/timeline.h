#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "configs/mesh.h"
#include "configs/wire/heartbeat_monitor.h"
#include "configs/wire/wire.pb.h"
#include "coordinator/telemetry/intervals.h"
#include "coordinator/telemetry/trace_file.h"

namespace lapidary {

/// What a rank's lanes did, in seconds.
struct RankTimes {
  int replica = 0, rank = 0, stage = 0;  // stage -1: only encodes
  bool vision = false;                   // has a vision lane
  double observed =
      0;  // of its replica: from the first span to the last; without spans its longest step + idle
  double step = 0, sum = 0, receive = 0, idle = 0;  // decoder lane: steps, and in them; between them
  double encode = 0, read = 0;                      // vision lane: the tower; waiting for pictures
  int64_t image_bytes = 0, image_bytes_limit = 0;   // most that it said to hold of pictures, and may

  double decoder_share() const { return share(step, observed); }
  double vision_share() const { return share(encode, observed); }
  double sum_share() const { return share(sum, step); }
  double receive_share() const { return share(receive, step); }
  static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }
};

struct ReplicaTimes {
  int replica = 0;
  /// Of the time that the less busy lane worked, how much the other worked too: any decoder lane of the
  /// replica, any vision lane. Needs spans.
  std::optional<double> overlap;
  /// pp > 1: the share of the stages' time between the first step and the last in which they computed
  /// nothing.
  std::optional<double> bubble;
};

/// How long decoder lanes took from a step's end to the begin of the next, which was waiting. Needs spans.
struct StepGaps {
  int64_t count = 0;
  double median_us = 0, p99_us = 0;
  double median_of_step = 0, p99_of_step = 0;  // as shares of the median step
};

/// How long steps of nothing but decodes took while the same rank's vision lane encoded from their begin to
/// their end, and while it did not at all. Needs spans.
struct DecodesBesideEncodes {
  int64_t beside = 0, alone = 0;  // steps
  double beside_median_ms = 0, beside_p99_ms = 0;
  double alone_median_ms = 0, alone_p99_ms = 0;
};

struct TimelineSummary {
  std::vector<RankTimes> ranks;
  std::vector<ReplicaTimes> replicas;
  StepGaps gaps;
  DecodesBesideEncodes decode_steps;

  std::string text() const;  // a table of the ranks, then a line for each figure that is there
};

/// What all ranks report of their time, in the coordinator's clock: a trace file, and a summary. Keeps 16
/// bytes for every step and batch of every rank that reports spans. One thread.
class Timeline {
 public:
  /// `trace`: where the trace file goes; empty: none.
  Timeline(const Mesh& mesh, const std::filesystem::path& trace = {});

  void take(int replica, int rank, const wire::Heartbeat& beat,
            HeartbeatMonitor::Time received = HeartbeatMonitor::Clock::now());
  TimelineSummary summary() const;
  /// Throws Error where the trace file is not whole.
  void finish();

 private:
  static constexpr size_t kKinds = wire::Span::Kind_ARRAYSIZE;
  using Sums = std::array<int64_t, kKinds>;
  struct Clock {
    int64_t offset = 0, round_trip = -1;  // below 0: not known yet
    int64_t at = 0;
  };
  struct Rank {
    MeshCoord coord;
    Clock clock;
    Sums ended{};                                      // of processes of this rank that were replaced
    Sums busy{};                                       // of the one that runs
    std::vector<Interval> prefills, decodes, encodes;  // steps with prefills and without; the vision lane's
    std::optional<Interval> observed;
    int64_t image_bytes = 0, image_bytes_limit = 0;  // the most
    uint64_t last_step = 0;     // 0: the next one was waited for, or there is none before
    int64_t last_step_end = 0;  // in its own clock, which the comparison of clocks does not move
  };

  static void compare_clocks(Clock& clock, const wire::Heartbeat& beat, HeartbeatMonitor::Time received);
  void take_sums(Rank& rank, const wire::Heartbeat& beat);
  void take_span(Rank& rank, const wire::Span& span, Interval when);
  void name_ranks();
  void write_span(const Rank& rank, const wire::Span& span, Interval when);
  ReplicaTimes replica_times(int replica, const std::vector<RankTimes>& ranks) const;
  double observed(int replica) const;
  StepGaps gaps() const;
  DecodesBesideEncodes decodes_beside_encodes() const;

  Mesh mesh_;
  int64_t begin_;            // of the trace, nanoseconds of this clock
  std::vector<Rank> ranks_;  // by world rank
  std::vector<int64_t> gaps_;
  std::optional<TraceFile> trace_;
};

}  // namespace lapidary
