#include "coordinator/telemetry/intervals.h"

#include <algorithm>

namespace lapidary {

std::vector<Interval> united(std::vector<Interval> intervals) {
  std::sort(intervals.begin(), intervals.end(),
            [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  std::vector<Interval> result;
  for (const Interval& next : intervals) {
    if (result.empty() || next.begin > result.back().end) {
      result.push_back(next);
    } else {
      result.back().end = std::max(result.back().end, next.end);
    }
  }
  return result;
}

int64_t total_length(std::span<const Interval> intervals) {
  int64_t total = 0;
  for (const Interval& interval : intervals) total += interval.length();
  return total;
}

int64_t common_length(std::span<const Interval> a, std::span<const Interval> b) {
  int64_t total = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    total += std::max<int64_t>(0, std::min(a[i].end, b[j].end) - std::max(a[i].begin, b[j].begin));
    (a[i].end < b[j].end ? i : j) += 1;
  }
  return total;
}

}  // namespace lapidary
