#include "worker/lanes/task_pool.h"

#include <algorithm>
#include <utility>

namespace lapidary {

TaskPool::TaskPool(int threads, std::function<void()> begin) : begin_(std::move(begin)) {
  try {
    for (int i = 0; i < std::max(1, threads); ++i) threads_.emplace_back([this] { work(); });
  } catch (...) {  // the system gave fewer threads: let those go that did start
    end();
    throw;
  }
}

TaskPool::~TaskPool() { end(); }

void TaskPool::end() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void TaskPool::push(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void TaskPool::work() {
  if (begin_) begin_();
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closing_ || !tasks_.empty(); });
    if (closing_) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
  }
}

}  // namespace lapidary
