#include <algorithm>
#include <cmath>
#include <cstdio>

#include "configs/error.h"
#include "coordinator/table.h"
#include "coordinator/timeline.h"

namespace lapidary {
namespace {

using Kind = wire::Span;

double seconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

/// The value that a share `at` of all are not above; reorders them.
double quantile(std::vector<int64_t>& values, double at) {
  if (values.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(at * static_cast<double>(values.size())));
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), place, values.end());
  return static_cast<double>(*place);
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f%%", share * 100);
  return text;
}

std::string microseconds(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f us", value);
  return text;
}

void append(std::vector<Interval>& all, const std::vector<Interval>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

TimelineSummary Timeline::summary() const {
  TimelineSummary summary;
  for (const Rank& rank : ranks_) {
    RankTimes& times = summary.ranks.emplace_back();
    const auto sum = [&](Kind::Kind kind) {
      return seconds(rank.ended[static_cast<size_t>(kind)] + rank.busy[static_cast<size_t>(kind)]);
    };
    times.replica = rank.place.replica;
    times.rank = rank.place.rank;
    times.stage = rank.place.stage;
    times.vision = has_vision_lane(mesh_, rank.place);
    times.observed = observed(rank.place.replica);
    times.step = sum(Kind::STEP);
    times.sum = sum(Kind::SUM);
    times.receive = sum(Kind::RECEIVE);
    times.idle = sum(Kind::IDLE);
    times.encode = sum(Kind::ENCODE);
    times.read = sum(Kind::READ);
  }
  for (int r = 0; r < mesh_.replicas; ++r) summary.replicas.push_back(replica_times(r, summary.ranks));
  summary.gaps = gaps();
  return summary;
}

double Timeline::observed(int replica) const {
  std::optional<Interval> all;
  int64_t longest = 0;
  for (const Rank& rank : ranks_) {
    if (rank.place.replica != replica) continue;
    longest = std::max(longest, rank.ended[Kind::STEP] + rank.ended[Kind::IDLE] + rank.busy[Kind::STEP] +
                                    rank.busy[Kind::IDLE]);
    if (!rank.observed) continue;
    if (!all) all = rank.observed;
    all = Interval{std::min(all->begin, rank.observed->begin), std::max(all->end, rank.observed->end)};
  }
  return seconds(all ? all->length() : longest);
}

ReplicaTimes Timeline::replica_times(int replica, const std::vector<RankTimes>& ranks) const {
  ReplicaTimes times;
  times.replica = replica;
  std::vector<Interval> steps, encodes;
  double computed = 0, lasted = 0;  // of all decoder ranks
  for (size_t r = 0; r < ranks_.size(); ++r) {
    const Rank& rank = ranks_[r];
    if (rank.place.replica != replica) continue;
    append(encodes, rank.encodes);
    if (!rank.place.decodes()) continue;
    append(steps, rank.steps);
    computed += ranks[r].step - ranks[r].receive;
    lasted += ranks[r].step + ranks[r].idle;
  }
  steps = united(std::move(steps));
  encodes = united(std::move(encodes));
  if (!steps.empty() && !encodes.empty()) {
    const int64_t shorter = std::min(total_length(steps), total_length(encodes));
    times.overlap = RankTimes::share(seconds(common_length(steps, encodes)), seconds(shorter));
  }
  if (!steps.empty()) lasted = seconds(steps.back().end - steps.front().begin) * mesh_.decoder_ranks();
  if (mesh_.pp > 1 && lasted > 0) times.bubble = std::max(0.0, 1 - computed / lasted);
  return times;
}

StepGaps Timeline::gaps() const {
  std::vector<int64_t> waits = gaps_, steps;
  for (const Rank& rank : ranks_)
    if (rank.place.decodes())
      for (const Interval& step : rank.steps) steps.push_back(step.length());
  StepGaps gaps;
  gaps.count = static_cast<int64_t>(waits.size());
  const double median = quantile(waits, 0.5), p99 = quantile(waits, 0.99), step = quantile(steps, 0.5);
  gaps.median_us = median / 1000;
  gaps.p99_us = p99 / 1000;
  gaps.median_of_step = RankTimes::share(median, step);
  gaps.p99_of_step = RankTimes::share(p99, step);
  return gaps;
}

std::string TimelineSummary::text() const {
  std::vector<std::vector<std::string>> rows{
      {"rank", "decoder lane busy", "all-reduce in steps", "waiting in steps", "vision lane busy"}};
  for (const RankTimes& rank : ranks) {
    const bool decodes = rank.stage >= 0;
    rows.push_back({cat("replica ", rank.replica, " rank ", rank.rank,
                        decodes ? cat(" (stage ", rank.stage, ")") : std::string(" (vision)")),
                    decodes ? percent(rank.decoder_share()) : "-", decodes ? percent(rank.sum_share()) : "-",
                    decodes ? percent(rank.receive_share()) : "-",
                    rank.vision ? percent(rank.vision_share()) : "-"});
  }
  std::string text = table_text(rows);
  for (const ReplicaTimes& times : replicas) {
    if (times.overlap)
      text +=
          cat("replica ", times.replica, ": encoding and decoding overlap ", percent(*times.overlap), "\n");
    if (times.bubble)
      text += cat("replica ", times.replica, ": pipeline bubble ", percent(*times.bubble), "\n");
  }
  if (gaps.count > 0)
    text += cat("between steps: median ", microseconds(gaps.median_us), " (", percent(gaps.median_of_step),
                " of a step), p99 ", microseconds(gaps.p99_us), " (", percent(gaps.p99_of_step), ")\n");
  return text;
}

}  // namespace lapidary
