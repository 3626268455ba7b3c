#pragma once

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace lapidary {

template <class Body>
double seconds_of(Body&& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

/// The median of `repeats` timed runs after one that is not counted.
template <class Body>
double median_seconds(int repeats, Body&& body) {
  body();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) times.push_back(seconds_of(body));
  return median(std::move(times));
}

}  // namespace lapidary
