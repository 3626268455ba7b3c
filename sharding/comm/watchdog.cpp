#include "sharding/comm/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPeriod{50};

std::chrono::nanoseconds nanoseconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
}

Rescue completed(Rescue rescue) {
  if (!rescue.lost)
    rescue.lost = [](const std::string& why) { std::fprintf(stderr, "lapidary: %s\n", why.c_str()); };
  if (!rescue.end) rescue.end = [] { ::_exit(1); };
  return rescue;
}

}  // namespace

Watchdog::Watchdog(const Rescue& rescue, std::function<bool()> made_progress)
    : rescue_(completed(rescue)), moved_on_(std::move(made_progress)), moved_at_(Clock::now()) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::watch(const std::shared_ptr<Watched>& one) {
  const std::lock_guard lock(mutex_);
  watched_.push_back(one);
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void Watchdog::close(const std::function<void()>& idle) {
  if (idle && device_is_done()) idle();
  if (!abort_all()) rescue_.end();
}

/// Where nothing is watched nobody asks.
bool Watchdog::device_is_done() {
  const std::lock_guard lock(mutex_);
  if (watched_.empty()) return false;
  const auto until = Clock::now() + nanoseconds(rescue_.abort_seconds);
  try {
    for (int yes = 0; yes < 2;) {  // what it had at the last call, then what it has by now
      if (moved_on_()) {
        ++yes;
      } else {
        if (Clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
  } catch (const std::exception&) {
    return false;  // it has failed, and said so
  }
  return true;
}

/// False where they did not end in time.
bool Watchdog::abort_all() {
  std::vector<std::shared_ptr<Watched>> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(watched_);
  }
  struct Count {
    std::mutex mutex;
    std::condition_variable changed;
    size_t left;
  };
  const auto count = std::make_shared<Count>();
  count->left = all.size();
  // Nobody waits for these threads: one whose abort never returns ends with the process.
  for (auto& one : all)
    std::thread([one = std::move(one), count]() mutable {
      one->abort();
      one.reset();
      {
        const std::lock_guard lock(count->mutex);
        --count->left;
      }
      count->changed.notify_all();
    }).detach();
  std::unique_lock lock(count->mutex);
  return count->changed.wait_for(lock, nanoseconds(rescue_.abort_seconds), [&] { return count->left == 0; });
}

std::string Watchdog::trouble() {
  for (const auto& one : watched_)
    if (std::string why = one->trouble(); !why.empty()) return why;
  if (watched_.empty() || moved_on_()) moved_at_ = Clock::now();
  if (Clock::now() - moved_at_ < nanoseconds(rescue_.deadline_seconds)) return {};
  return cat("the device did not do its part of a step within ", rescue_.deadline_seconds,
             " s (--step-deadline): another rank is gone or hangs");
}

void Watchdog::run() {
  std::unique_lock lock(mutex_);
  const auto period = std::min<std::chrono::nanoseconds>(kPeriod, nanoseconds(rescue_.deadline_seconds / 4));
  while (!changed_.wait_for(lock, period, [this] { return ending_; })) {
    std::string why;
    try {
      why = trouble();
    } catch (const std::exception& e) {
      why = e.what();  // the device itself has failed
    }
    if (why.empty()) continue;
    lock.unlock();
    rescue_.lost(why);
    abort_all();
    rescue_.end();
    return;
  }
}

}  // namespace lapidary
