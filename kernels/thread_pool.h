#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace lapidary {

/// A fixed set of threads, the caller among them. `run` is a fork and a join: it returns when every thread has.
/// Waiting threads spin a few microseconds (a step is hundreds of short operations), then sleep, so that more
/// ranks than cores still make progress.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  /// Calls body(thread) once on each of size() threads. The first exception is thrown again here.
  void run(const std::function<void(int)>& body);

  /// Calls body(begin, end) over [0, n) in `size()` near-equal contiguous parts whose edges are multiples of
  /// `grain` (but for the last).
  void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Cores this process may run on (its affinity mask, as mpirun's binding sets it).
int available_cores();

}  // namespace lapidary
