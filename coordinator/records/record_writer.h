#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "coordinator/dataset/inputs.h"
#include "coordinator/records/output.h"
#include "coordinator/records/record.h"

namespace lapidary {

/// Where records go. All methods may throw Error, on the writer's thread.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  virtual void add(const DatasetItem& item, const Record& record) = 0;
  /// What was added so far survives from here on.
  virtual void commit() {}
  /// No more will come. `whole`: every item has its record.
  virtual void finish(bool whole) = 0;
};

/// Lines of one file or of standard output, in the order of the items' indices: whatever ends the job early,
/// what is written is how the whole output begins.
class LineSink : public RecordSink {
 public:
  /// `before_line` is called before each line: a progress bar on the same terminal makes way.
  LineSink(LineOutput& output, std::function<void()> before_line)
      : output_(output), before_line_(std::move(before_line)) {}
  void add(const DatasetItem& item, const Record& record) override;
  void finish(bool whole) override;

 private:
  void write(const std::string& line);

  LineOutput& output_;
  std::function<void()> before_line_;
  std::map<int64_t, std::string> waiting_;
  int64_t next_ = 0;
};

/// Hands records to a sink on a thread of its own, and commits them about once a second, so that waiting for
/// a disk never holds up the coordinator.
class RecordWriter {
 public:
  /// `news` is called on the writer's thread when the sink has failed; `trouble` says how.
  RecordWriter(RecordSink& sink, std::function<void()> news);
  /// What was not finished is dropped.
  ~RecordWriter();
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;

  void add(DatasetItem item, Record record);
  /// Whether few enough records wait for the sink that more may be made.
  bool has_room() const;
  std::exception_ptr trouble() const;
  /// Waits until all is written and committed; throws what the sink threw.
  void finish(bool whole);

 private:
  struct Entry {
    DatasetItem item;
    Record record;
  };
  void work();
  void write(const std::deque<Entry>& entries, bool commit);

  RecordSink& sink_;
  const std::function<void()> news_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> entries_;
  size_t writing_ = 0;     // records that the sink is being given
  size_t text_bytes_ = 0;  // of all that wait
  bool ending_ = false;
  bool dropping_ = false;
  std::exception_ptr trouble_;
  std::thread thread_;
};

}  // namespace lapidary
