#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/records/durable.h"
#include "coordinator/records/job_journal.h"

namespace lapidary {

/// A part's files. Only one of the two exists at a time: one becomes the other by a rename.
struct PartPaths {
  std::filesystem::path open;    // FOLDER/.NAME.jsonl.open
  std::filesystem::path closed;  // FOLDER/NAME.jsonl
  std::filesystem::path stats;   // FOLDER/NAME_stats.json
};
/// `name` may have folders.
PartPaths part_paths(const std::filesystem::path& folder, const std::string& name);

/// "part-00012": of records that belong to no tar.
std::string loose_part_name(int64_t number);
/// The number of such a name.
std::optional<int64_t> loose_part_number(std::string_view name);

/// A tar's stem as the name of a part in the job's folder: no part of it leads out of there.
std::string part_name_of_stem(const std::string& stem);
/// Throws a sentence where a name is too long for the files that a part has in its time.
void check_part_name(const std::string& name);

/// What a line of a part says, as far as the job needs it.
struct RecordLine {
  uint64_t hash = 0;  // hash_of_record
  uint64_t key = 0;   // hash_of_key
  std::optional<std::string> error;
  int64_t tokens = 0;
};
/// None where the line is no record: no JSON object with key, prompt and status.
std::optional<RecordLine> parse_record_line(std::string_view line);

/// Calls `each` for the records from the byte `from` on, and gives the byte behind the last of them: where
/// the first line begins that is torn or no record.
int64_t scan_part(const std::filesystem::path& file, int64_t from,
                  const std::function<void(const RecordLine&, std::string_view line)>& each);

/// Writes the part anew without the records that have an error, if there are such.
void drop_failed(const std::filesystem::path& file);

/// A part of a job's folder.
struct JobPart {
  std::string name;
  PartPaths paths;
  bool closed = false;
  uint32_t number = 0;  // in the journal
  bool in_journal = false;
  double start_time = 0;  // Unix seconds
  int64_t size = 0;       // bytes, of whole lines
  int64_t records = 0;
  int64_t failed = 0;
  std::vector<JournalMark> waiting;  // marks of records that the journal does not have yet
  DurableFile file;                  // while it is written to

  /// Gives a closed part its open name again.
  void reopen();
  /// Opens the file where it is not yet; a closed part is opened again under its open name.
  void open();
  /// One record's line, without its end.
  void append(std::string_view line, const JournalMark& mark);
  /// Syncs and renames. All must be in the journal.
  void close();
};

}  // namespace lapidary
