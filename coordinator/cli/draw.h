#pragma once

#include <deque>
#include <filesystem>
#include <future>
#include <set>
#include <string>

#include "coordinator/dataset/inputs.h"
#include "coordinator/records/record.h"
#include "worker/lanes/task_pool.h"

namespace lapidary {

/// Pictures with their boxes and captions drawn in, written as PNG below a folder by the pool's threads,
/// named after the records' keys.
class Drawings {
 public:
  /// Makes the folder; throws where it cannot.
  Drawings(std::filesystem::path folder, TaskPool& pool);

  /// Returns at once. Throws what an earlier drawing ran into.
  void add(const Record& record, const DatasetItem& item);
  /// Waits for all of them.
  void finish();

 private:
  std::filesystem::path name_for(const std::string& key);
  void collect(bool wait);

  std::filesystem::path folder_;
  TaskPool& pool_;
  std::set<std::filesystem::path> names_;
  std::deque<std::future<void>> pending_;
};

}  // namespace lapidary
