#pragma once

#include <chrono>
#include <cstdint>

namespace lapidary {

/// Nanoseconds of this host's steady clock: what spans and heartbeats are told in.
inline int64_t steady_time() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace lapidary
