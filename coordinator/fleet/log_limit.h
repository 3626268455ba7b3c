#pragma once

#include <chrono>
#include <cstdint>

namespace lapidary {

/// Lets so many lines through in a span of time and counts the others. Knows no clock.
class LogLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  LogLimit(int lines, Duration span) : lines_(lines), span_(span) {}

  bool admits(Time now);
  /// How many were held back, once their span is over; 0 before and when told already.
  int64_t take_held_back(Time now);

 private:
  int lines_;
  Duration span_;
  Time begin_{};
  int admitted_ = 0;
  int64_t held_back_ = 0;
};

}  // namespace lapidary
