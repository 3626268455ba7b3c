#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace lapidary {

/// Threads for work beside the model's: reading images, drawing. Tasks start in the order they were given.
class TaskPool {
 public:
  /// `begin`, where given, is called first on each thread.
  explicit TaskPool(int threads, std::function<void()> begin = {});
  /// Tasks that have begun are waited for; the others are dropped (their futures throw broken_promise).
  ~TaskPool();
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  /// The future holds what the task returns or throws.
  template <class Task>
  auto submit(Task task) -> std::future<decltype(task())> {
    // std::function copies, a packaged_task only moves.
    auto packaged = std::make_shared<std::packaged_task<decltype(task())()>>(std::move(task));
    auto future = packaged->get_future();
    push([packaged] { (*packaged)(); });
    return future;
  }

 private:
  void end();
  void push(std::function<void()> task);
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> begin_;
  std::deque<std::function<void()>> tasks_;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lapidary
