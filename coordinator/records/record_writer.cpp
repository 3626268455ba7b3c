#include "coordinator/records/record_writer.h"

#include <chrono>

namespace lapidary {
namespace {

/// Work that a death may cost at most, beside what was running: small beside loading a model again.
constexpr auto kCommitEvery = std::chrono::milliseconds(500);

/// Enough that the disk's pauses are not felt, few enough to weigh nothing.
constexpr size_t kMostWaiting = 4096, kMostText = size_t{64} << 20;

size_t text_bytes(const Record& record) {
  return record.key.size() + record.prompt.size() + record.text.size() +
         record.token_ids.size() * sizeof(int32_t);
}

}  // namespace

void LineSink::write(const std::string& line) {
  before_line_();
  output_.write(line);
}

void LineSink::add(const DatasetItem& item, const Record& record) {
  waiting_.emplace(item.index, to_json(record));
  for (; !waiting_.empty() && waiting_.begin()->first == next_; ++next_) {
    const std::string line = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    write(line);
  }
}

void LineSink::finish(bool) { output_.finish(); }

RecordWriter::RecordWriter(RecordSink& sink, std::function<void()> news)
    : sink_(sink), news_(std::move(news)), thread_([this] { work(); }) {}

RecordWriter::~RecordWriter() {
  {
    const std::lock_guard lock(mutex_);
    dropping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void RecordWriter::add(DatasetItem item, Record record) {
  {
    const std::lock_guard lock(mutex_);
    text_bytes_ += text_bytes(record);
    entries_.push_back({std::move(item), std::move(record)});
  }
  changed_.notify_all();
}

bool RecordWriter::has_room() const {
  const std::lock_guard lock(mutex_);
  return entries_.size() + writing_ < kMostWaiting && text_bytes_ < kMostText;
}

std::exception_ptr RecordWriter::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

void RecordWriter::finish(bool whole) {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (trouble_) std::rethrow_exception(trouble_);
  sink_.finish(whole);
}

void RecordWriter::work() {
  using Clock = std::chrono::steady_clock;
  auto committed = Clock::now();
  bool dirty = false;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait_until(lock, dirty ? committed + kCommitEvery : Clock::time_point::max(),
                        [&] { return !entries_.empty() || ending_ || dropping_; });
    if (dropping_) return;
    std::deque<Entry> entries = std::move(entries_);
    entries_.clear();
    writing_ = entries.size();
    const size_t writing_text = text_bytes_;
    const bool last = entries.empty() && ending_;
    lock.unlock();
    dirty = dirty || !entries.empty();
    const bool commit = dirty && (last || Clock::now() - committed >= kCommitEvery);
    write(entries, commit);
    if (commit) {
      dirty = false;
      committed = Clock::now();
    }
    entries.clear();  // pictures among them are let go of
    lock.lock();
    writing_ = 0;
    text_bytes_ -= writing_text;
    if (last || trouble_) return;
  }
}

void RecordWriter::write(const std::deque<Entry>& entries, bool commit) {
  try {
    for (const Entry& entry : entries) sink_.add(entry.item, entry.record);
    if (commit) sink_.commit();
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      trouble_ = std::current_exception();
    }
    news_();
  }
}

}  // namespace lapidary
