#pragma once

#include <deque>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/dataset/inputs.h"
#include "coordinator/records/record_writer.h"
#include "worker/lanes/task_pool.h"

namespace lapidary {

/// Pictures with their boxes and captions drawn in, written as PNG below a folder by the pool's threads,
/// named after the records' keys. One that cannot be made is counted, and the rest goes on.
class Drawings {
 public:
  /// Makes the folder; throws where it cannot.
  Drawings(std::filesystem::path folder, TaskPool& pool);

  /// An item, in the order of the inputs, so that a later run of the same job gives the same names. `done`:
  /// an earlier run has drawn it. Any thread.
  void name(const DatasetItem& item, bool done);
  /// Returns at once. Its item has been named.
  void add(const Record& record, const DatasetItem& item);
  /// Waits for all of them.
  void finish();
  /// "2 drawings could not be made, the first: …"; empty for none. After `finish`.
  std::string remark() const;

 private:
  std::filesystem::path name_for(const std::string& key);

  std::filesystem::path folder_;
  TaskPool& pool_;
  std::mutex mutex_;  // of the names
  std::set<std::filesystem::path> names_;
  std::map<int64_t, std::filesystem::path> named_;  // by the item's index, until it is drawn
  std::deque<std::future<void>> pending_;
  int64_t failed_ = 0;
  std::string first_failure_;
};

/// Draws what another sink writes, which gets a record once its drawing is made: a job that dies has a
/// drawing for each record that a later run does not make again.
class DrawingSink : public RecordSink {
 public:
  DrawingSink(RecordSink& sink, Drawings& drawings) : sink_(sink), drawings_(drawings) {}
  void add(const DatasetItem& item, const Record& record) override;
  void commit() override;
  void finish(bool whole) override;

 private:
  void hand_over();

  RecordSink& sink_;
  Drawings& drawings_;
  std::vector<std::pair<DatasetItem, Record>> waiting_;
  size_t bytes_ = 0;  // of their pictures
};

}  // namespace lapidary
