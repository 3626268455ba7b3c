#include <algorithm>
#include <cmath>
#include <cstdio>

#include "configs/error.h"
#include "coordinator/telemetry/progress.h"
#include "coordinator/telemetry/table.h"
#include "coordinator/telemetry/timeline.h"

namespace lapidary {
namespace {

using Kind = wire::Span;

double seconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

/// The value that a share `at` of all are not above; reorders them.
double quantile(std::vector<int64_t>& values, double at) {
  if (values.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(at * static_cast<double>(values.size())));
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), nth, values.end());
  return static_cast<double>(*nth);
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

std::string milliseconds(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), value < 10 ? "%.2f ms" : "%.1f ms", value);
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
    times.replica = rank.coord.replica;
    times.rank = rank.coord.rank;
    times.stage = rank.coord.stage;
    times.vision = has_vision_lane(mesh_, rank.coord);
    times.observed = observed(rank.coord.replica);
    times.step = sum(Kind::STEP);
    times.sum = sum(Kind::SUM);
    times.receive = sum(Kind::RECEIVE);
    times.idle = sum(Kind::IDLE);
    times.encode = sum(Kind::ENCODE);
    times.read = sum(Kind::READ);
    times.image_bytes = rank.image_bytes;
    times.image_bytes_limit = rank.image_bytes_limit;
  }
  for (int r = 0; r < mesh_.replicas; ++r) summary.replicas.push_back(replica_times(r, summary.ranks));
  summary.gaps = gaps();
  summary.decode_steps = decodes_beside_encodes();
  return summary;
}

double Timeline::observed(int replica) const {
  std::optional<Interval> all;
  int64_t longest = 0;
  for (const Rank& rank : ranks_) {
    if (rank.coord.replica != replica) continue;
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
    if (rank.coord.replica != replica) continue;
    append(encodes, rank.encodes);
    if (!rank.coord.decodes()) continue;
    append(steps, rank.prefills);
    append(steps, rank.decodes);
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
    for (const auto* kind : {&rank.prefills, &rank.decodes})
      for (const Interval& step : *kind) steps.push_back(step.length());
  StepGaps gaps;
  gaps.count = static_cast<int64_t>(waits.size());
  const double median = quantile(waits, 0.5), p99 = quantile(waits, 0.99), step = quantile(steps, 0.5);
  gaps.median_us = median / 1000;
  gaps.p99_us = p99 / 1000;
  gaps.median_of_step = RankTimes::share(median, step);
  gaps.p99_of_step = RankTimes::share(p99, step);
  return gaps;
}

DecodesBesideEncodes Timeline::decodes_beside_encodes() const {
  std::vector<int64_t> beside, alone;
  for (const Rank& rank : ranks_) {
    const std::vector<Interval> encodes = united(rank.encodes);
    if (encodes.empty() || !rank.coord.decodes()) continue;
    for (const Interval& step : rank.decodes) {
      // The only encodes that can touch it: those before the first that begins after its end.
      const auto after = std::upper_bound(encodes.begin(), encodes.end(), step.end,
                                          [](int64_t end, const Interval& e) { return end <= e.begin; });
      int64_t common = 0;
      for (auto e = after; e != encodes.begin() && std::prev(e)->end > step.begin; --e)
        common += std::min(std::prev(e)->end, step.end) - std::max(std::prev(e)->begin, step.begin);
      if (common == step.length()) beside.push_back(step.length());
      if (common == 0) alone.push_back(step.length());
    }
  }
  DecodesBesideEncodes found{static_cast<int64_t>(beside.size()), static_cast<int64_t>(alone.size())};
  found.beside_median_ms = quantile(beside, 0.5) * 1e-6;
  found.beside_p99_ms = quantile(beside, 0.99) * 1e-6;
  found.alone_median_ms = quantile(alone, 0.5) * 1e-6;
  found.alone_p99_ms = quantile(alone, 0.99) * 1e-6;
  return found;
}

std::string TimelineSummary::text() const {
  std::vector<std::vector<std::string>> rows{{"rank", "decoder lane busy", "all-reduce in steps",
                                              "waiting in steps", "vision lane busy", "pictures held"}};
  for (const RankTimes& rank : ranks) {
    const bool decodes = rank.stage >= 0;
    rows.push_back({cat("replica ", rank.replica, " rank ", rank.rank,
                        decodes ? cat(" (stage ", rank.stage, ")") : std::string(" (vision)")),
                    decodes ? percent(rank.decoder_share()) : "-", decodes ? percent(rank.sum_share()) : "-",
                    decodes ? percent(rank.receive_share()) : "-",
                    rank.vision ? percent(rank.vision_share()) : "-",
                    rank.vision ? cat(bytes_text(static_cast<double>(rank.image_bytes)), " of ",
                                      bytes_text(static_cast<double>(rank.image_bytes_limit)))
                                : "-"});
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
  if (decode_steps.beside > 0 && decode_steps.alone > 0)
    text += cat("decode steps: median ", milliseconds(decode_steps.alone_median_ms), ", p99 ",
                milliseconds(decode_steps.alone_p99_ms), "; beside an encode median ",
                milliseconds(decode_steps.beside_median_ms), " (",
                percent(decode_steps.beside_median_ms / decode_steps.alone_median_ms), "), p99 ",
                milliseconds(decode_steps.beside_p99_ms), "\n");
  return text;
}

}  // namespace lapidary
