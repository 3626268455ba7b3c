#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <random>

#include "coordinator/records/job_shards.h"
#include "tests/coordinator/records/job_helpers.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {
namespace fs = std::filesystem;

class JobFolderWebdatasetTest : public JobTest {};

/// Three tars, "00000", "more/00001" and "00002", of so many items.
JobOptions shard_options(int64_t items) {
  JobOptions options = job_options();
  options.format = OutputFormat::webdataset;
  options.shards = {{0, "00000", items}, {1, "more/00001", items}, {2, "00002", items}};
  return options;
}

std::vector<DatasetItem> shard_items(const JobOptions& options) {
  std::vector<DatasetItem> items;
  for (const Shard& shard : options.shards) {
    for (int64_t i = 0; i < shard.items; ++i) {
      DatasetItem item;
      item.key = cat(shard.stem, "/", 9 - i);  // not in the order of the alphabet
      item.index = static_cast<int64_t>(items.size());
      item.shard = shard.number;
      items.push_back(item);
    }
  }
  return items;
}

std::vector<std::string> keys_in(const fs::path& file) {
  std::vector<std::string> keys;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    keys.emplace_back(boost::json::parse(line).as_object().at("key").as_string());
  return keys;
}

std::vector<std::string> keys_of(const std::vector<DatasetItem>& items, int64_t shard) {
  std::vector<std::string> keys;
  for (const DatasetItem& item : items)
    if (item.shard == shard) keys.push_back(item.key);
  return keys;
}

void expect_aligned(const fs::path& folder, const JobOptions& options,
                    const std::vector<DatasetItem>& items) {
  for (const Shard& shard : options.shards)
    EXPECT_EQ(keys_in(folder / (shard.stem + ".jsonl")), keys_of(items, shard.number)) << shard.stem;
  EXPECT_EQ(records_in(folder), once_each(items));
}

boost::json::object stats_in(const fs::path& file) {
  std::ifstream in(file);
  return boost::json::parse(in).as_object();
}

/// Asks for all items, then records the missing ones in an order of its own, of the first `most`.
void run_shuffled(const fs::path& folder, const JobOptions& options, const std::vector<DatasetItem>& items,
                  unsigned seed, size_t most, bool finish) {
  JobFolder job(folder, options);
  std::vector<DatasetItem> missing;
  for (DatasetItem item : items)
    if (!job.take_if_done(item)) missing.push_back(item);
  for (const Shard& shard : options.shards) job.end_shard(shard);
  std::shuffle(missing.begin(), missing.end(), std::mt19937(seed));
  for (size_t i = 0; i < std::min(most, missing.size()); ++i) {
    job.add(missing[i], record_of(missing[i]));
    if (i % 3 == 0) job.commit();
  }
  if (finish) job.finish(most >= missing.size());
}

/// Whoever makes something else of a finished job reads these, from whichever run they are.
TEST_F(JobFolderWebdatasetTest, TheFilesHoldAllRecordsOfAWholeJob) {
  const TempFolder temp;
  const JobOptions options = shard_options(3);
  std::vector<DatasetItem> items = shard_items(options);
  DatasetItem loose;
  loose.key = "cat.jpg";
  loose.index = static_cast<int64_t>(items.size());
  items.push_back(loose);
  for (const size_t end : {size_t{4}, items.size()}) {
    JobFolder job(temp / "job", options);
    for (size_t i = 0; i < end; ++i)
      if (!job.take_if_done(items[i])) job.add(items[i], record_of(items[i]));
    for (const Shard& shard : options.shards) job.end_shard(shard);
    job.finish(end == items.size());
    if (end < items.size()) continue;
    size_t records = 0;
    for (const fs::path& file : job.files()) records += keys_in(file).size();
    EXPECT_EQ(job.files().size(), 4u);
    EXPECT_EQ(records, items.size());
  }
}

TEST_F(JobFolderWebdatasetTest, EachTarsRecordsLieBesideEachOtherInTheTarsOrder) {
  const TempFolder folder;
  const JobOptions options = shard_options(7);
  const auto items = shard_items(options);
  run_shuffled(folder.path(), options, items, 1, 100, true);
  expect_aligned(folder.path(), options, items);
  EXPECT_FALSE(fs::exists(folder / "part-00000.jsonl"));
}

TEST_F(JobFolderWebdatasetTest, AShardIsFinishedWhenItsItemsAreKnownAndHaveRecords) {
  const TempFolder folder;
  const JobOptions options = shard_options(2);
  const auto items = shard_items(options);
  JobFolder job(folder.path(), options);
  for (DatasetItem item : items) job.take_if_done(item);
  job.add(items[1], record_of(items[1]));
  job.add(items[0], record_of(items[0]));
  job.add(items[2], record_of(items[2]));
  job.commit();
  EXPECT_FALSE(fs::exists(folder / "00000.jsonl"));
  job.end_shard(options.shards[0]);
  job.end_shard(options.shards[1]);
  job.commit();
  EXPECT_TRUE(fs::exists(folder / "00000.jsonl"));
  EXPECT_FALSE(fs::exists(folder / "more/00001.jsonl"));
  EXPECT_TRUE(fs::exists(folder / "more/.00001.jsonl.open"));
  job.add(items[3], record_of(items[3]));
  job.commit();
  EXPECT_TRUE(fs::exists(folder / "more/00001.jsonl"));
}

TEST_F(JobFolderWebdatasetTest, StatsCountWhatBecameOfTheItems) {
  const TempFolder folder;
  const JobOptions options = shard_options(3);
  const auto items = shard_items(options);
  JobFolder job(folder.path(), options);
  for (DatasetItem item : items) {
    job.take_if_done(item);
    job.add(item, record_of(item, item.index % 3 == 1));
  }
  job.finish(true);
  const auto stats = stats_in(folder / "more/00001_stats.json");
  EXPECT_EQ(stats.at("shard").as_string(), "more/00001");
  EXPECT_EQ(stats.at("count").as_int64(), 3);
  EXPECT_EQ(stats.at("successes").as_int64(), 2);
  EXPECT_EQ(stats.at("failed").as_int64(), 1);
  EXPECT_EQ(stats.at("errors").as_object().at("no JPEG").as_int64(), 1);
  EXPECT_EQ(stats.at("tokens").as_int64(), 9);
  EXPECT_LE(stats.at("start_time").as_double(), stats.at("end_time").as_double());
}

TEST_F(JobFolderWebdatasetTest, GoesOnAfterDeathsInTheTarsOrder) {
  for (unsigned seed = 0; seed < 10; ++seed) {
    const TempFolder folder;
    const JobOptions options = shard_options(7);
    const auto items = shard_items(options);
    run_shuffled(folder.path(), options, items, seed, 3 + seed, false);
    if (seed % 3 == 0) fs::remove(folder / ".journal");
    run_shuffled(folder.path(), options, items, seed + 100, 5, seed % 2 == 0);
    run_shuffled(folder.path(), options, items, seed + 200, 100, true);
    expect_aligned(folder.path(), options, items);
  }
}

TEST_F(JobFolderWebdatasetTest, ATarThatGrewGetsItsNewRecordsWhereTheyBelong) {
  const TempFolder folder;
  const JobOptions options = shard_options(5);
  const auto items = shard_items(options);
  JobOptions smaller = options;
  std::vector<DatasetItem> some;
  for (const DatasetItem& item : items)
    if (item.index % 5 != 2) some.push_back(item);
  for (Shard& shard : smaller.shards) shard.items = 4;
  run_shuffled(folder.path(), smaller, some, 1, 100, true);
  run_shuffled(folder.path(), options, items, 2, 100, true);
  expect_aligned(folder.path(), options, items);
  EXPECT_EQ(stats_in(folder / "00002_stats.json").at("count").as_int64(), 5);
}

TEST_F(JobFolderWebdatasetTest, PicturesWithoutATarGoToParts) {
  const TempFolder folder;
  JobOptions options = shard_options(2);
  options.shards[2].stem = "part-00000";
  auto items = shard_items(options);
  for (const DatasetItem& item : loose_items(3)) items.push_back(item);
  run_shuffled(folder.path(), options, items, 1, 100, true);
  expect_aligned(folder.path(), options, items);
  EXPECT_EQ(keys_in(folder / "part-00001.jsonl").size(), 3u);
  EXPECT_EQ(run_whole(folder.path(), options, items), 0);
}

TEST_F(JobFolderWebdatasetTest, AStemLeadsNowhereElse) {
  EXPECT_EQ(part_name_of_stem("00000"), "00000");
  EXPECT_EQ(part_name_of_stem("a/00000"), "a/00000");
  EXPECT_EQ(part_name_of_stem("/data/./a/00000"), "data/a/00000");
  EXPECT_EQ(part_name_of_stem("../a/00000"), "__/a/00000");
}

TEST_F(JobFolderWebdatasetTest, RetryOpensAFinishedShardWithFailuresAgain) {
  const TempFolder folder;
  JobOptions options = shard_options(4);
  const auto items = shard_items(options);
  {
    JobFolder job(folder.path(), options);
    for (DatasetItem item : items) {
      job.take_if_done(item);
      job.add(item, record_of(item, item.index == 5 || item.index == 6));
    }
    job.finish(true);
  }
  EXPECT_EQ(run_whole(folder.path(), options, items), 0);
  options.retry_failed = true;
  {
    const JobFolder job(folder.path(), options);
    EXPECT_EQ(job.done_before(), 10);
    EXPECT_EQ(job.failed_before(), 0);
    EXPECT_TRUE(fs::exists(folder / "more/.00001.jsonl.open"));
    EXPECT_FALSE(fs::exists(folder / "more/00001.jsonl"));
  }
  EXPECT_EQ(run_whole(folder.path(), options, items), 2);
  expect_aligned(folder.path(), options, items);
  EXPECT_EQ(stats_in(folder / "more/00001_stats.json").at("failed").as_int64(), 0);
}

}  // namespace
}  // namespace lapidary
