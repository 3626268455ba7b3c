#include "tests/cuda_emulation/stream.h"

#include <chrono>
#include <utility>

#include "tests/cuda_emulation/graph.h"
#include "tests/cuda_emulation/protection.h"

namespace lapidary::emulation {
namespace {

/// How long work that nobody asks for waits.
constexpr std::chrono::milliseconds kPatience{2};

}  // namespace

Queue::Queue(int device) : device_(device), thread_([this] { run(); }) {}

Queue::~Queue() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Queue::push(std::function<void()> work, std::function<void()> ahead) {
  {
    const std::lock_guard lock(mutex_);
    work_.push_back({std::move(work), std::move(ahead)});
    ++pushed_;
    if (work_.size() > 1) return;  // the thread knows of some
  }
  changed_.notify_one();
}

uint64_t Queue::pushed() {
  const std::lock_guard lock(mutex_);
  return pushed_;
}

bool Queue::done(uint64_t count) {
  const std::lock_guard lock(mutex_);
  want(count);
  return done_ >= count;
}

void Queue::wait(uint64_t count) {
  std::unique_lock lock(mutex_);
  want(count);
  progressed_.wait(lock, [&] { return done_ >= count; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Queue::settle(uint64_t count) {
  std::unique_lock lock(mutex_);
  want(count);
  progressed_.wait(lock, [&] { return done_ >= count; });
}

void Queue::want(uint64_t count) {
  if (count <= wanted_) return;
  wanted_ = count;
  changed_.notify_one();
}

void Queue::run() {
  cuda::use_device(device_);
  const AsDevice device;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return !work_.empty() || ending_; });
    if (work_.empty()) return;
    if (!changed_.wait_for(lock, kPatience, [this] { return done_ < wanted_ || ending_; })) wanted_ = pushed_;
    std::function<void()> work = std::move(work_.front().run);
    const std::function<void()> ahead = work_.size() > 1 ? work_[1].ahead : nullptr;
    lock.unlock();
    std::exception_ptr failure;
    try {
      if (ahead) ahead();
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    work = nullptr;  // what it holds is let go before anyone hears that it is done
    lock.lock();
    work_.pop_front();
    ++done_;
    if (failure && !failure_) failure_ = std::move(failure);
    progressed_.notify_all();
  }
}

void submit(cuda::Stream stream, std::function<void()> work, std::function<void()> ahead) {
  if (record_work(stream, work)) return;
  if (stream.handle == nullptr) {
    const AsDevice device;
    return work();
  }
  static_cast<Queue*>(stream.handle)->push(std::move(work), std::move(ahead));
}

}  // namespace lapidary::emulation
