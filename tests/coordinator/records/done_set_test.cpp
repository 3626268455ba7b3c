#include "coordinator/records/done_set.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <random>
#include <string>

#include "coordinator/dataset/item_keys.h"
#include "coordinator/records/job_journal.h"
#include "tests/coordinator/records/job_helpers.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

TEST(DoneSet, EachIsTakenAsOftenAsItWasAdded) {
  std::mt19937_64 random(1);
  std::vector<uint64_t> hashes(10'000);
  for (uint64_t& hash : hashes) hash = random() & ~uint64_t{1};
  DoneSet done;
  for (const uint64_t hash : hashes) done.add(hash, hash + 5);
  for (int i = 0; i < 3; ++i) done.add(hashes[17], hashes[17] + 5);
  done.add(0, 7);
  done.add(~uint64_t{1}, 8);
  done.seal();
  EXPECT_EQ(done.size(), hashes.size() + 5);
  for (const uint64_t hash : hashes) EXPECT_EQ(done.take(hash), hash + 5);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(done.take(hashes[17]));
  EXPECT_EQ(done.take(0), 7u);
  EXPECT_EQ(done.take(~uint64_t{1}), 8u);
  for (const uint64_t hash : hashes) EXPECT_FALSE(done.take(hash));
  EXPECT_FALSE(done.take(0));
  EXPECT_FALSE(done.take(2));
}

TEST(DoneSet, AnEmptyOneHasNothing) {
  DoneSet done;
  done.seal();
  EXPECT_FALSE(done.take(4));
}

int64_t peak_kib() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6));
  return 0;
}

/// Nine million records: what opening their job takes. Lines of 0 bytes would contradict the journal, so the
/// parts are sparse files of the right length.
TEST(DoneSet, DISABLED_NineMillionAreOpenedInSeconds) {
  constexpr int64_t kParts = 900, kRecords = 10'000, kBytes = 250;
  const TempFolder folder;
  { const JobFolder begun(folder.path(), job_options()); }
  {
    JournalWriter journal(folder / ".journal", 0);
    std::vector<JournalMark> marks;
    for (int64_t part = 0; part < kParts; ++part) {
      std::string name = std::to_string(part);
      name = "part-" + std::string(5 - name.size(), '0') + name;
      journal.name_part(static_cast<uint32_t>(part), name, 0);
      marks.clear();
      for (int64_t i = 0; i < kRecords; ++i) {
        const std::string key = cat("cats/", part * kRecords + i, ".jpg");
        const uint64_t record = hash_of_record(key, "caption en");
        marks.push_back({record, hash_of_key(key), record});
      }
      journal.add(static_cast<uint32_t>(part), kRecords * kBytes, marks);
      journal.commit();
      folder.write(name + ".jsonl", "");
      std::filesystem::resize_file(folder / (name + ".jsonl"), kRecords * kBytes);
    }
  }
  const auto seconds = [begin = std::chrono::steady_clock::now()] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const int64_t before = peak_kib();
  JobFolder job(folder.path(), job_options());
  const double opened = seconds();
  ASSERT_EQ(job.done_before(), kParts * kRecords);
  int64_t taken = 0;
  for (int64_t i = 0; i < kParts * kRecords; ++i) {
    DatasetItem item;
    item.key = "cats/" + std::to_string(i) + ".jpg";
    taken += job.take_if_done(item);
  }
  EXPECT_EQ(taken, kParts * kRecords);
  std::cout << "opened in " << opened << " s, all asked for in " << seconds() - opened << " s, peak "
            << before / 1024 << " -> " << peak_kib() / 1024 << " MiB\n";
}

}  // namespace
}  // namespace lapidary
