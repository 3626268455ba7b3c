#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "coordinator/records/done_set.h"
#include "coordinator/records/job_journal.h"
#include "coordinator/records/job_part.h"

namespace lapidary {

/// What a job's folder holds, after repairs: every part ends with a whole record, and the journal has them
/// all.
struct ResumedJob {
  std::map<std::string, JobPart> parts;  // by name
  DoneSet done;                          // by the items' identities
  DoneSet unidentified;  // by hash_of_record: found where the journal does not tell whose they are
  int64_t failed = 0;
  JournalWriter journal;
  uint32_t next_number = 0;  // of a part in the journal
};

/// `shards`: names of the tars' parts. `retry_failed`: records with an error are removed; a tar's part that
/// had such is open again. May die at any point and be called again.
ResumedJob resume_job(const std::filesystem::path& folder, const std::vector<std::string>& shards,
                      bool retry_failed);

}  // namespace lapidary
