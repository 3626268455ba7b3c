#include "configs/wire/heartbeat_monitor.h"

namespace lapidary {
namespace {

int64_t nanoseconds(HeartbeatMonitor::Duration time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

}  // namespace

void HeartbeatMonitor::heard(const wire::Heartbeat& beat, Time now) {
  heard_ = now;
  peer_clock_ = beat.clock();
  peer_clock_at_ = now;
}

bool HeartbeatMonitor::is_dead(Time now) {
  if (now - looked_ >= dead_after_ / 2) heard_ = now;
  looked_ = now;
  return now - heard_ > dead_after_;
}

wire::Heartbeat HeartbeatMonitor::beat(Time now) const {
  wire::Heartbeat beat;
  beat.set_clock(nanoseconds(now.time_since_epoch()));
  if (peer_clock_ == 0) return beat;
  beat.set_echo(peer_clock_);
  beat.set_echo_delay(nanoseconds(now - peer_clock_at_));
  return beat;
}

ClockOffset clock_offset(const wire::Heartbeat& beat, HeartbeatMonitor::Time received) {
  constexpr int64_t kCenturies = int64_t{1} << 61;  // what no clock shows; sums of fewer fit
  for (const int64_t value : {beat.clock(), beat.echo(), beat.echo_delay()})
    if (value < 0 || value > kCenturies) return {};
  if (beat.echo() == 0) return {};
  const int64_t now = nanoseconds(received.time_since_epoch());
  const int64_t round_trip = now - beat.echo() - beat.echo_delay();
  return {beat.clock() + round_trip / 2 - now, round_trip};
}

std::chrono::nanoseconds nanoseconds_of(double seconds) {
  return std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9));
}

}  // namespace lapidary
