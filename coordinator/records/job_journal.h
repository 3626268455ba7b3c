#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/records/durable.h"

namespace lapidary {

/// Names a record in its part: 63 bits of its key and prompt, the last bit is 0. Bytes
/// that are no UTF-8 count as what the record's line has for them.
uint64_t hash_of_record(uint64_t key_hash, std::string_view prompt);
uint64_t hash_of_record(std::string_view key, std::string_view prompt);

/// A record in the journal.
struct JournalMark {
  uint64_t item = 0;    // DatasetItem::identity; 0: not known, the record was found without a journal
  uint64_t key = 0;     // hash_of_key
  uint64_t record = 0;  // hash_of_record, and in the last bit whether it has an error

  bool failed() const { return (record & 1) != 0; }
  uint64_t record_hash() const { return record & ~uint64_t{1}; }
};

/// Writes the journal: after a line that names it, entries of {length, checksum, payload}. A payload names a
/// part for the entries that follow, or tells how long a part is and which records came to it.
class JournalWriter {
 public:
  JournalWriter() = default;
  /// Goes on behind `size` bytes, the sound ones; 0: begins anew.
  JournalWriter(const std::filesystem::path& file, int64_t size);

  /// `number`: the caller's, each part its own. `start_time`: Unix seconds.
  void name_part(uint32_t number, std::string_view name, double start_time);
  /// The part is `end` bytes long and holds `marks` since its last entry.
  void add(uint32_t number, int64_t end, std::span<const JournalMark> marks);
  /// Bytes that `commit` will write.
  size_t waiting() const { return waiting_.size(); }
  /// Writes the entries since the last call, all or none, and waits for the disk.
  void commit();
  /// Bytes of what is committed.
  int64_t size() const { return file_.size(); }

 private:
  void entry(std::string_view payload);

  DurableFile file_;
  std::string waiting_;
};

/// What a journal tells of a part.
struct JournalPart {
  uint32_t number = 0;
  std::string name;
  double start_time = 0;
  int64_t end = 0;  // bytes
  int64_t records = 0;
  int64_t failed = 0;
};

struct JournalSummary {
  std::vector<JournalPart> parts;  // by number
  int64_t sound = 0;               // bytes up to the first entry that is torn
  bool torn = false;               // there is more, or the file is no journal
};

/// Reads what is sound. A file that is not there is an empty journal.
JournalSummary read_journal(const std::filesystem::path& file);
/// A second pass over the entries of a journal's first `sound` bytes, in order.
void each_journal_entry(
    const std::filesystem::path& file, int64_t sound,
    const std::function<void(uint32_t number, std::span<const JournalMark> marks)>& entry);

}  // namespace lapidary
