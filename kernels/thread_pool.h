#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace lapidary {

/// A fixed set of threads, the caller among them. `run` is a fork and a join: it returns when every thread
/// has. Waiting threads spin a few microseconds (a step is hundreds of short operations), then sleep, so that
/// more ranks than cores still make progress. One caller at a time; a body must not call its own pool.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  /// Calls body(thread) once on each of size() threads. When bodies throw, the exception of the lowest thread
  /// is thrown again here, once all have ended. Allocates nothing.
  template <class Body>
  void run(Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run_erased([](void* context, int thread) { (*static_cast<Plain*>(context))(thread); },
               const_cast<void*>(static_cast<const void*>(&body)));
  }

  /// The part [begin, end) of [0, n) that falls to `thread` of `threads`: near-equal and contiguous, the
  /// edges at multiples of `grain` (but for the last).
  struct Part {
    int64_t begin, end;
  };
  static Part part_of(int64_t n, int64_t grain, int thread, int threads) {
    const int64_t grains = (n + grain - 1) / grain;
    const auto edge = [&](int64_t t) {
      const int64_t at = grains * t / threads * grain;
      return at < n ? at : n;
    };
    return {edge(thread), edge(thread + 1)};
  }

  /// Calls body(begin, end) over the parts of [0, n) that are not empty, each on its own thread.
  template <class Body>
  void parallel_for(int64_t n, int64_t grain, Body&& body) {
    run([&](int thread) {
      const Part part = part_of(n, grain, thread, size());
      if (part.begin < part.end) body(part.begin, part.end);
    });
  }

 private:
  struct State;
  using Erased = void (*)(void* context, int thread);
  void run_erased(Erased body, void* context);

  std::unique_ptr<State> state_;
};

/// Cores this process may run on (its affinity mask, as mpirun's binding sets it).
int available_cores();

}  // namespace lapidary
