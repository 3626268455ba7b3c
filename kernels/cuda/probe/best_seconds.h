#pragma once

#include <algorithm>
#include <chrono>

#include "kernels/cuda/runtime/device.h"

namespace lapidary::cuda {

/// Tries of best_seconds(), after a first run of work() alone.
inline constexpr int kTries = 4;

/// Seconds of work() in the stream: the best of a few bursts, each long enough that starting and waiting for
/// it do not count. A limit is what the device can do, not what a busy moment left of it.
template <class Work>
double best_seconds(Stream stream, int burst, const Work& work) {
  work();
  synchronize(stream);
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int j = 0; j < burst; ++j) work();
    synchronize(stream);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    const double each = std::max(took.count(), 1e-9) / burst;
    best = i == 0 ? each : std::min(best, each);
  }
  return best;
}

}  // namespace lapidary::cuda
