#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lapidary {

/// From begin to end, in nanoseconds.
struct Interval {
  int64_t begin = 0, end = 0;
  int64_t length() const { return end - begin; }
};

/// The time that any of them covers: in order, apart from each other.
std::vector<Interval> united(std::vector<Interval> intervals);
int64_t total_length(std::span<const Interval> intervals);
/// How long both cover; each in order and apart, as `united` gives them.
int64_t common_length(std::span<const Interval> a, std::span<const Interval> b);

}  // namespace lapidary
