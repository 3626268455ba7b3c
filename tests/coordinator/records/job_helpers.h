#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "configs/error.h"
#include "coordinator/records/job_folder.h"

namespace lapidary {

/// Tests that make thousands of small jobs: their folders are in memory where the system has such a place,
/// for a disk takes milliseconds for each sync.
class JobTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* folder = std::getenv("TMPDIR");
    before_ = folder ? folder : "";
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
  }
  static void TearDownTestSuite() {
    if (before_.empty())
      unsetenv("TMPDIR");
    else
      setenv("TMPDIR", before_.c_str(), 1);
  }

 private:
  static inline std::string before_;
};

inline JobOptions job_options(int64_t records_a_part = 10) {
  JobOptions options;
  options.records_a_part = records_a_part;
  options.default_prompt = "caption en";
  options.fingerprint = {{"model", "abc"}, {"prompt", "caption en"}};
  return options;
}

inline std::vector<DatasetItem> loose_items(int64_t count) {
  std::vector<DatasetItem> items(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    items[static_cast<size_t>(i)].key = cat("cats/", i, ".jpg");
    items[static_cast<size_t>(i)].index = i;
  }
  return items;
}

inline Record record_of(const DatasetItem& item, bool failed = false) {
  Record record;
  record.key = item.key;
  record.prompt = item.prompt.value_or("caption en");
  record.text = "a \"cat\" of " + item.key;
  record.token_ids = {1, 2, 3};
  if (failed) record.error = "no JPEG";
  return record;
}

/// Key and prompt of every line of the job's parts, open ones too, with how often they are there.
inline std::map<std::string, int> records_in(const std::filesystem::path& folder) {
  std::map<std::string, int> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".jsonl") && !name.ends_with(".jsonl.open")) continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      const auto object = boost::json::parse(line).as_object();
      ++found[cat(object.at("key").as_string().c_str(), "|", object.at("prompt").as_string().c_str())];
    }
  }
  return found;
}

inline std::map<std::string, int> once_each(const std::vector<DatasetItem>& items) {
  std::map<std::string, int> all;
  for (const DatasetItem& item : items) ++all[cat(item.key, "|", item.prompt.value_or("caption en"))];
  return all;
}

/// Makes the records that are missing and finishes the job; gives how many those were.
inline int64_t go_on(JobFolder& job, const std::vector<DatasetItem>& items) {
  int64_t made = 0;
  for (DatasetItem item : items) {
    if (job.take_if_done(item)) continue;
    job.add(item, record_of(item));
    ++made;
  }
  return made;
}

inline int64_t run_whole(const std::filesystem::path& folder, const JobOptions& options,
                         const std::vector<DatasetItem>& items) {
  JobFolder job(folder, options);
  const int64_t made = go_on(job, items);
  for (size_t i = 0; i < options.shards.size(); ++i) job.end_shard(options.shards[i]);
  job.finish(true);
  return made;
}

}  // namespace lapidary
