#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace lapidary {

/// What callbacks of other threads were told, a line each, for a test to wait for.
class Journal {
 public:
  void add(std::string line) {
    {
      const std::lock_guard lock(mutex_);
      lines_.push_back(std::move(line));
    }
    changed_.notify_all();
  }

  /// The first line that holds `part`, waited for; a test that would wait for ever fails instead.
  std::string await(const std::string& part) { return await(part, 1); }
  /// The n-th of them.
  std::string await(const std::string& part, size_t n) {
    std::unique_lock lock(mutex_);
    std::vector<std::string> found;
    const auto here = [&] { return (found = with(part)).size() >= n; };
    if (!changed_.wait_for(lock, std::chrono::seconds(120), here)) {
      std::string all;
      for (const std::string& line : lines_) all += "\n  " + line;
      throw std::runtime_error("nothing was told of \"" + part + "\", only:" + all);
    }
    return found[n - 1];
  }
  std::vector<std::string> holding(const std::string& part) {
    const std::lock_guard lock(mutex_);
    return with(part);
  }

 private:
  std::vector<std::string> with(const std::string& part) const {
    std::vector<std::string> found;
    std::copy_if(lines_.begin(), lines_.end(), std::back_inserter(found),
                 [&](const std::string& line) { return line.find(part) != line.npos; });
    return found;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
};

}  // namespace lapidary
