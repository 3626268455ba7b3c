#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <vector>

#include "coordinator/commands.h"

namespace lapidary {

/// Sub-commands of `lapidary bench`. Each checks its result before it times, measures the machine's limit in
/// the same run, and prints the figure beside it.
void add_bench_device(CLI::App& bench, Chosen& chosen);
void add_bench_images(CLI::App& bench, Chosen& chosen);
void add_bench_kernels(CLI::App& bench, Chosen& chosen);
void add_bench_load(CLI::App& bench, Chosen& chosen);
void add_bench_model(CLI::App& bench, Chosen& chosen);
void add_bench_ranks(CLI::App& bench, Chosen& chosen);
void add_bench_report(CLI::App& bench, Chosen& chosen);  // report, note
void add_bench_scheduler(CLI::App& bench, Chosen& chosen);

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
