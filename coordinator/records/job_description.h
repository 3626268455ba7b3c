#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/dataset/inputs.h"
#include "coordinator/records/durable.h"

namespace lapidary {

/// What job.json says.
struct JobDescription {
  std::string format;
  std::vector<std::pair<std::string, std::string>> fingerprint;
  std::vector<LabelledSource> sources;  // of all its runs, in the order in which they came
  bool done = false;
  int64_t records = 0;
  int64_t failed = 0;
};

/// The one process that works on a job's folder. What dies lets go of it.
class JobLock {
 public:
  /// Throws where another process has it and does not let go of it within `patience` seconds, naming that.
  JobLock(const std::filesystem::path& folder, double patience);
  ~JobLock();
  JobLock(const JobLock&) = delete;
  JobLock& operator=(const JobLock&) = delete;

 private:
  int fd_ = -1;
};

/// Throws where the folder holds files and no job, or is no folder.
void require_job_or_empty(const std::filesystem::path& folder);
/// Whether the folder's job was begun as `wanted`: false where there is none yet. Throws where it is another,
/// naming the first field that differs; else `wanted` gets the state and the counts, and its sources come
/// behind those that it does not have.
bool read_job_description(const std::filesystem::path& folder, JobDescription& wanted);
/// The sources of a job that is there; none where there is no job.
std::vector<LabelledSource> sources_of_job(const std::filesystem::path& folder);
void write_job_description(const std::filesystem::path& folder, const JobDescription& job);

}  // namespace lapidary
