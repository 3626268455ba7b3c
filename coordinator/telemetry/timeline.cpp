#include "coordinator/telemetry/timeline.h"

#include <algorithm>
#include <cmath>

#include "configs/error.h"

namespace lapidary {
namespace {

using Kind = wire::Span;

constexpr int64_t kMostBusy = int64_t{1} << 61;  // nanoseconds; sums of two fit

int64_t nanoseconds(HeartbeatMonitor::Time time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

/// How an event of each kind is shown.
struct Shown {
  int thread;
  const char* name;
  const char* number;
};
constexpr const char* kThreads[] = {"decoder lane", "collectives", "vision lane"};
constexpr Shown kShown[] = {{0, "decode", "step"}, {1, "collective", "step"}, {1, "receive", "step"},
                            {0, "idle", "step"},   {2, "encode", "images"},   {2, "read", "images"}};
static_assert(std::size(kShown) == wire::Span::Kind_ARRAYSIZE);

}  // namespace

Timeline::Timeline(const Mesh& mesh, const std::filesystem::path& trace)
    : mesh_(mesh),
      begin_(nanoseconds(HeartbeatMonitor::Clock::now())),
      ranks_(static_cast<size_t>(mesh.world())) {
  for (int r = 0; r < mesh.world(); ++r) ranks_[static_cast<size_t>(r)].coord = coord_of(mesh, r);
  if (trace.empty()) return;
  trace_.emplace(trace);
  name_ranks();
}

void Timeline::name_ranks() {
  for (int r = 0; r < mesh_.world(); ++r) {
    const MeshCoord& coord = ranks_[static_cast<size_t>(r)].coord;
    trace_->name_process(r,
                         cat("replica ", coord.replica, " rank ", coord.rank,
                             coord.decodes() ? cat(" (stage ", coord.stage, ")") : std::string(" (vision)")));
    for (int t = 0; t < static_cast<int>(std::size(kThreads)); ++t)
      if (t != kShown[Kind::ENCODE].thread || has_vision_lane(mesh_, coord))
        trace_->name_thread(r, t, kThreads[t]);
  }
  trace_->flush();
}

void Timeline::take(int replica, int rank, const wire::Heartbeat& beat, HeartbeatMonitor::Time received) {
  Rank& from = ranks_.at(static_cast<size_t>(replica * mesh_.replica_ranks() + rank));
  take_sums(from, beat);
  from.image_bytes = std::max(from.image_bytes, beat.image_bytes());
  from.image_bytes_limit = std::max(from.image_bytes_limit, beat.image_bytes_limit());
  compare_clocks(from.clock, beat, received);
  for (const wire::Span& span : beat.spans()) {
    if (!wire::Span::Kind_IsValid(span.kind()) || span.end() < span.begin()) continue;  // of a newer worker
    const Interval when{span.begin() - from.clock.offset, span.end() - from.clock.offset};
    take_span(from, span, when);
    if (trace_) write_span(from, span, when);
  }
  if (trace_) trace_->flush();
}

/// The comparison with the shortest way there and back is the best one; but clocks drift, so that one grows
/// worse by 50 parts in a million, which is what cheap quartz promises, until a fresh one beats it.
void Timeline::compare_clocks(Clock& clock, const wire::Heartbeat& beat, HeartbeatMonitor::Time received) {
  const ClockOffset seen = clock_offset(beat, received);
  const int64_t now = nanoseconds(received);
  if (seen.round_trip < 0) return;
  const int64_t drift = (now - clock.at) / 20'000;
  if (clock.round_trip >= 0 && seen.round_trip / 2 > clock.round_trip / 2 + drift) return;
  clock = {seen.offset, seen.round_trip, now};
}

void Timeline::take_sums(Rank& rank, const wire::Heartbeat& beat) {
  Sums busy{};
  for (size_t k = 0; k < std::min(kKinds, static_cast<size_t>(beat.busy_size())); ++k)
    busy[k] = beat.busy(static_cast<int>(k));
  // Sums only grow: less is another process's, and its clock may be another host's.
  bool replaced = false;
  for (size_t k = 0; k < kKinds; ++k) replaced |= busy[k] < rank.busy[k];
  if (replaced) {
    for (size_t k = 0; k < kKinds; ++k)  // a process that says nonsense again and again adds up to any number
      rank.ended[k] = std::min(rank.ended[k] + rank.busy[k], kMostBusy);
    rank.clock = {};
    rank.last_step = 0;
  }
  rank.busy = busy;
}

void Timeline::take_span(Rank& rank, const wire::Span& span, Interval when) {
  if (!rank.observed) rank.observed = when;
  rank.observed =
      Interval{std::min(rank.observed->begin, when.begin), std::max(rank.observed->end, when.end)};
  if (span.kind() == Kind::ENCODE) rank.encodes.push_back(when);
  if (span.kind() == Kind::IDLE) rank.last_step = 0;
  if (span.kind() != Kind::STEP) return;
  if (rank.last_step > 0 && span.number() == rank.last_step + 1)
    gaps_.push_back(span.begin() - rank.last_step_end);
  (span.prefills() ? rank.prefills : rank.decodes).push_back(when);
  rank.last_step = span.number();
  rank.last_step_end = span.end();
}

void Timeline::write_span(const Rank& rank, const wire::Span& span, Interval when) {
  const Shown& shown = kShown[span.kind()];
  const int process = rank.coord.replica * mesh_.replica_ranks() + rank.coord.rank;
  const char* name = span.prefills() ? "prefill" : shown.name;
  trace_->add(process, shown.thread, name, when.begin - begin_, when.end - begin_, shown.number,
              span.number());
}

void Timeline::finish() {
  if (trace_) trace_->finish();
}

}  // namespace lapidary
