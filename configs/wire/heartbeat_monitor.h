#pragma once

#include <chrono>

#include "configs/wire/wire.pb.h"

namespace lapidary {

/// When a peer was last heard of, and what it is told now and then. Knows no clock: every call is given the
/// time.
class HeartbeatMonitor {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  using Duration = Clock::duration;

  HeartbeatMonitor(Duration dead_after, Time now) : dead_after_(dead_after), heard_(now), looked_(now) {}

  /// Any frame has come.
  void heard(Time now) { heard_ = now; }
  /// A heartbeat has come: its clock is echoed by the next one that is sent.
  void heard(const wire::Heartbeat& beat, Time now);
  /// To be asked at every heartbeat: whether the peer has been silent for too long. A thread that was itself
  /// held up meanwhile judges nobody: what its peers have said still waits to be read.
  bool is_dead(Time now);
  Duration silence(Time now) const { return now - heard_; }
  wire::Heartbeat beat(Time now) const;

 private:
  Duration dead_after_;
  Time heard_, looked_;
  int64_t peer_clock_ = 0;  // of its last heartbeat; 0: none yet
  Time peer_clock_at_;
};

/// What a peer's clock shows above this one's at the same moment, in nanoseconds: half of `round_trip` is the
/// most that it can be wrong by.
struct ClockOffset {
  int64_t offset = 0;
  int64_t round_trip = -1;  // below 0: the heartbeat echoes nothing yet
};
ClockOffset clock_offset(const wire::Heartbeat& beat, HeartbeatMonitor::Time received);

std::chrono::nanoseconds nanoseconds_of(double seconds);

}  // namespace lapidary
