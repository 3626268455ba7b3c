#include "kernels/thread_pool.h"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace lapidary {
namespace {

// A futex wake-up costs some ten microseconds: between the operations of a step it is worth waiting that
// long.
constexpr auto kSpin = std::chrono::microseconds(50);
// Looks at the word before the core is first offered to somebody else (another rank's thread, when there are
// more threads than cores).
constexpr int kLooksBeforeYield = 200;

/// Returns once word is no longer `old`.
void wait_while(const std::atomic<uint32_t>& word, uint32_t old) {
  for (int look = 0; look < kLooksBeforeYield; ++look) {
    if (word.load(std::memory_order_acquire) != old) return;
  }
  const auto until = std::chrono::steady_clock::now() + kSpin;
  while (std::chrono::steady_clock::now() < until) {
    if (word.load(std::memory_order_acquire) != old) return;
    std::this_thread::yield();
  }
  word.wait(old, std::memory_order_acquire);
}

}  // namespace

struct ThreadPool::State {
  // Each on a cache line of its own: one is read by all while another is written by all.
  alignas(64) std::atomic<uint32_t> round{0};
  alignas(64) std::atomic<uint32_t> pending{0};
  alignas(64) Erased body = nullptr;  // null: end
  void* context = nullptr;
  std::vector<std::exception_ptr> errors;  // one a thread
  std::vector<std::thread> workers;        // threads 1 …

  void call(int thread) {
    try {
      body(context, thread);
    } catch (...) {
      errors[static_cast<size_t>(thread)] = std::current_exception();
    }
  }

  void work(int thread) {
    for (uint32_t seen = 0;;) {
      wait_while(round, seen);
      ++seen;
      if (body == nullptr) return;
      call(thread);
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
    }
  }

  void start_round(Erased new_body, void* new_context) {
    body = new_body;
    context = new_context;
    if (workers.empty()) return;
    pending.store(static_cast<uint32_t>(workers.size()), std::memory_order_relaxed);
    round.fetch_add(1, std::memory_order_release);
    round.notify_all();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1) throw std::logic_error("a thread pool of " + std::to_string(threads) + " threads");
  state_->errors.resize(static_cast<size_t>(threads));
  state_->workers.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int t = 1; t < threads; ++t) {
      state_->workers.emplace_back([state = state_.get(), t] { state->work(t); });
    }
  } catch (...) {  // the system gave fewer threads: let those go that did start
    state_->start_round(nullptr, nullptr);
    for (auto& worker : state_->workers) worker.join();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  state_->start_round(nullptr, nullptr);
  for (auto& worker : state_->workers) worker.join();
}

int ThreadPool::size() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run_erased(Erased body, void* context) {
  State& state = *state_;
  state.start_round(body, context);
  state.call(0);
  for (uint32_t left; (left = state.pending.load(std::memory_order_acquire)) != 0;)
    wait_while(state.pending, left);
  for (auto& error : state.errors) {
    if (!error) continue;
    const std::exception_ptr first = error;
    for (auto& e : state.errors) e = nullptr;
    std::rethrow_exception(first);
  }
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return static_cast<int>(std::thread::hardware_concurrency());
  return CPU_COUNT(&set);
}

}  // namespace lapidary
