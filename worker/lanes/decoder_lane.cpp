#include "worker/lanes/decoder_lane.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "configs/error.h"
#include "configs/steady_time.h"

namespace lapidary {
namespace {

/// While a device or a peer is waited for: how soon it is seen that it is done.
constexpr std::chrono::microseconds kDeviceNap{20}, kPeerNap{100};

}  // namespace

DecoderLane::DecoderLane(StepExecutor& executor, SpanRecorder& recorder, Done done, uint64_t last_step)
    : executor_(executor), recorder_(recorder), done_(std::move(done)), added_(last_step) {}

void DecoderLane::add(wire::Step step) {
  {
    const std::lock_guard lock(mutex_);
    if (step.number() != added_ + 1)
      throw std::logic_error(cat("step ", step.number(), " came after step ", added_));
    ++added_;
    steps_.push_back(std::move(step));
  }
  changed_.notify_one();
}

void DecoderLane::finish() {
  {
    const std::lock_guard lock(mutex_);
    finishing_ = true;
  }
  changed_.notify_one();
}

void DecoderLane::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
}

void DecoderLane::run() {
  bool stop = false;
  for (wire::Step step; !stop && next(step);) {
    start(step);
    stop = step.stop();
    // One is left to the device when another can be started behind it.
    while (!in_flight_.empty() && (in_flight_.size() > 1 || stop || ends_before_next())) finish_oldest();
  }
  while (!in_flight_.empty()) finish_oldest();
}

void DecoderLane::start(const wire::Step& step) {
  // A part of a prefill names its sequences in its first layers' step only.
  in_flight_.push_back({step.number(), steady_time(), step.prefills_size() > 0 || step.end_layer() > 0});
  executor_.start(step);
}

/// A device begins a step when it is done with the one before: a step's span is the time that it had alone.
void DecoderLane::finish_oldest() {
  wire::StepDone done = executor_.finish();
  const InFlightStep step = in_flight_.front();
  in_flight_.pop_front();
  const int64_t begin = std::max(step.begin, last_end_);
  last_end_ = steady_time();
  recorder_.add(wire::Span::STEP, begin, last_end_, step.number, step.prefills);
  done_(std::move(done));
}

/// Waits until the only step started is done, or another can be started behind it: false then.
bool DecoderLane::ends_before_next() {
  const auto news = [this] { return finishing_ || stopping_ || !steps_.empty(); };
  std::unique_lock lock(mutex_);
  for (;;) {
    lock.unlock();
    const bool ready = executor_.ready();
    if (!ready) executor_.progress();
    lock.lock();
    if (ready || stopping_) return true;
    if (!steps_.empty()) return false;
    if (finishing_) return true;
    changed_.wait_for(lock, kDeviceNap, news);
  }
}

/// The next step; false when there will be none.
bool DecoderLane::next(wire::Step& step) {
  std::unique_lock lock(mutex_);
  if (steps_.empty() && !finishing_ && !stopping_) {
    const int64_t begin = steady_time();
    wait(lock);
    // A rank's time is from its first step to its last: before and after it waits for others to load or to
    // end.
    if (!steps_.empty() && steps_.front().number() > 1)
      recorder_.add(wire::Span::IDLE, begin, steady_time(), steps_.front().number());
  }
  if (stopping_ || steps_.empty()) return false;
  step = std::move(steps_.front());
  steps_.pop_front();
  return true;
}

void DecoderLane::wait(std::unique_lock<std::mutex>& lock) {
  const auto awake = [this] { return finishing_ || stopping_ || !steps_.empty(); };
  while (!awake()) {
    lock.unlock();
    const bool under_way = executor_.progress();
    lock.lock();
    // Naps only while a peer may wait for the rest of a message; else only a step has to be noticed.
    if (under_way) {
      changed_.wait_for(lock, kPeerNap, awake);
    } else {
      changed_.wait(lock, awake);
    }
  }
}

}  // namespace lapidary
