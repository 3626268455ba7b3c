#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "kernels/cuda/runtime/device.h"

namespace lapidary::emulation {

/// What a stream has yet to do, done in order on a thread of its own: beside the host's and all other
/// streams', so that work may wait for that of another stream, or of another device. It is begun as late as a
/// device may begin it (when somebody waits for it or asks whether it is done, else after a while), so that
/// what the host reads or overwrites too early shows.
class Queue {
 public:
  explicit Queue(int device);
  /// What was pushed is done first.
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  int device() const { return device_; }
  void push(std::function<void()> work, std::function<void()> ahead);
  uint64_t pushed();
  /// Whether the first `count` pieces of work of all times are done; those that are not are begun.
  bool done(uint64_t count);
  /// Returns when they are; throws what one of them threw, once.
  void wait(uint64_t count);
  /// Returns when they are, or all that was pushed so far; what they threw is left to wait().
  void settle(uint64_t count);
  void settle() { settle(pushed()); }

 private:
  struct Work {
    std::function<void()> run, ahead;
  };

  void run();
  void want(uint64_t count);

  const int device_;
  std::mutex mutex_;
  std::condition_variable changed_, progressed_;
  std::deque<Work> work_;
  uint64_t pushed_ = 0, done_ = 0, wanted_ = 0;
  std::exception_ptr failure_;
  bool ending_ = false;
  std::thread thread_;
};

/// Gives work to a stream: the one way in which all work comes to one. A stream without a handle does it at
/// once. `ahead`, if given, is what the work may do before the work in front of it is done; it is done as
/// early as that, where there is work in front.
void submit(cuda::Stream stream, std::function<void()> work, std::function<void()> ahead = {});

/// How often the host waited for a device that was not done yet, in this process.
int64_t host_waits();

/// What the driver says of itself and of its devices, which are alike. A test may change it, and puts it
/// back.
struct Driver {
  Driver();
  std::string why_no_device;  // not empty: there is none, for this reason
  cuda::DeviceInfo device;    // free_memory is counted
};
Driver& driver();
/// Of the calling thread's device, given out.
size_t device_memory_held();

/// The calling thread's device.
int current_device();

/// The GPUs of the emulated host.
constexpr int kDevices = 8;

}  // namespace lapidary::emulation
