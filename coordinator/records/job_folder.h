#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "configs/enum_names.h"
#include "coordinator/dataset/inputs.h"
#include "coordinator/records/in_flight.h"
#include "coordinator/records/record_writer.h"

namespace lapidary {

enum class OutputFormat : uint8_t {
  jsonl,       // part-00000.jsonl, …, of so many records each, as they end
  webdataset,  // STEM.jsonl and STEM_stats.json beside each tar's STEM, records in the tar's order
};
template <>
struct EnumNames<OutputFormat> {
  static constexpr std::array kNames{"jsonl", "webdataset"};
};

struct JobOptions {
  OutputFormat format = OutputFormat::jsonl;
  int64_t records_a_part = 10'000;
  std::string default_prompt;  // of items that bring none
  /// The job's tars by number, each with its stem: what their files are called (webdataset).
  std::vector<Shard> shards;
  std::vector<LabelledSource> sources;  // remembered, so that later runs give their pictures the same keys
  bool only_tars = false;               // as Inputs says
  bool retry_failed = false;            // records with an error are made again
  /// Seconds in which another run that works on the folder has to end: one that was killed is gone for those
  /// who look for it before the system has closed its files.
  double patience = 5;
  /// What the records depend on, by name ("model", "prompt", …): another value in the same folder is refused.
  std::vector<std::pair<std::string, std::string>> fingerprint;
};

/// The output of a job that may die at any moment and is then run again: a folder of parts with a record a
/// line, in which every item has exactly one record.
///
/// job.json has the fingerprint and the job's state. A part is `.NAME.jsonl.open` while it grows; finished,
/// it is renamed. `.journal` says, for every commit, which items are done and how long the open parts were;
/// what lies behind that is cut off. Without it the records are read, and known by their keys and prompts.
///
/// Opening, `take_if_done` and `suspicion` are for one thread, `end_shard` for any, `begin`, `end` and
/// `crashed` for one, the other methods for one other (a RecordWriter's). Throws a sentence that names the
/// file. After a failed write what was committed stays, and a later run goes on.
class JobFolder : public RecordSink {
 public:
  /// Makes the folder, or goes on with what it holds. Throws where another process works on it, where the
  /// fingerprint is another (naming the field and both values), and where it holds files that are no job's.
  JobFolder(const std::filesystem::path& folder, const JobOptions& options);
  ~JobFolder() override;

  /// Records found at the start that stay.
  int64_t done_before() const;
  /// Of those, with an error.
  int64_t failed_before() const;
  /// Whether an earlier run has recorded this item; each record is taken once. One that is not recorded gets
  /// its key. An item without an identity is known by its key and prompt.
  bool take_if_done(DatasetItem& item);
  /// The files that hold all records, once the job is whole and finished.
  std::vector<std::filesystem::path> files() const;
  /// Pictures so far whose key got a number.
  int64_t numbered_keys() const;

  // What it works on, for a later run if this one crashes; on the coordinator's thread, but the first.
  /// What is held against the item by runs that crashed.
  Suspicion suspicion(const DatasetItem& item) const;
  void begin(const DatasetItem& item);
  void end(const DatasetItem& item);
  void crashed();

  /// `record` has the item's key and prompt; every item was asked for by `take_if_done` before.
  void add(const DatasetItem& item, const Record& record) override;
  /// A tar was read to its end: when all its items have records its file is finished (webdataset), at the
  /// next `commit` or `finish`.
  void end_shard(const Shard& shard);
  void commit() override;
  /// Commits, and where the job is whole finishes the open parts, and job.json says that it is done; else
  /// they stay open for a later run.
  void finish(bool whole) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Whether `--output` names a job's folder: what exists and is no folder, and a name that ends in .jsonl,
/// .ndjson or .json, is one file.
bool names_job_folder(const std::filesystem::path& output);

}  // namespace lapidary
