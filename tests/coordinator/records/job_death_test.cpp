#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <random>

#include "tests/coordinator/records/job_helpers.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {
namespace fs = std::filesystem;

class JobFolderDeathTest : public JobTest {};

/// Runs `work` in a process that is killed after `microseconds`; false where it had ended by itself.
bool killed(const std::function<void()>& work, unsigned microseconds) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      work();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
      _exit(3);
    }
    _exit(0);
  }
  usleep(microseconds);
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

/// A job that commits after every few records, each of them announced in `committed` afterwards.
void work_on(const fs::path& folder, const JobOptions& options, const std::vector<DatasetItem>& items,
             volatile int64_t* committed) {
  JobFolder job(folder, options);
  int64_t total = job.done_before();
  for (DatasetItem item : items) {
    if (job.take_if_done(item)) continue;
    job.add(item, record_of(item, item.index % 7 == 3));
    if (++total % 5 != 0) continue;
    job.commit();
    *committed = total;
  }
  for (const Shard& shard : options.shards) job.end_shard(shard);
  job.finish(true);
}

/// Shared with the processes that die.
class Shared {
 public:
  Shared() : at_(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {}
  ~Shared() { munmap(at_, 4096); }
  volatile int64_t* value() { return static_cast<volatile int64_t*>(at_); }

 private:
  void* at_;
};

std::vector<DatasetItem> in_shards(std::vector<DatasetItem> items, JobOptions& options, int64_t size) {
  options.format = OutputFormat::webdataset;
  for (DatasetItem& item : items) item.shard = item.index / size;
  for (int64_t i = 0; i * size < static_cast<int64_t>(items.size()); ++i)
    options.shards.push_back({i, cat("s/", i), size});
  return items;
}

/// Random moments within the time that work takes here and now. What a busy machine does to that time, once
/// or for long, is made up for by how many moments were too late.
class Moments {
 public:
  Moments(unsigned seed, const std::function<void()>& work) : random_(seed) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const auto time = std::chrono::steady_clock::now() - begin;
    longest_ = 1 + static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
  }
  /// In microseconds.
  uint32_t next() { return static_cast<uint32_t>(random_() % longest_); }
  void was_in_time(bool yes) { longest_ = yes ? longest_ + longest_ / 16 + 1 : longest_ - longest_ / 8; }

 private:
  std::mt19937 random_;
  uint64_t longest_ = 1;
};

/// Jobs that die at random moments until they are whole, until there were many deaths; what was committed is
/// always there again.
void die_often(const JobOptions& options, const std::vector<DatasetItem>& items) {
  Shared committed;
  const TempFolder whole;
  Moments moments(7, [&] { work_on(whole / "out", options, items, committed.value()); });
  const auto dies = [&](const fs::path& out) {
    const bool died = killed([&] { work_on(out, options, items, committed.value()); }, moments.next());
    moments.was_in_time(died);
    return died;
  };
  int deaths = 0;
  for (int round = 0; round < 500 && deaths < 60; ++round) {
    const TempFolder folder;
    *committed.value() = 0;
    while (dies(folder / "out")) {
      ++deaths;
      const int64_t promised = *committed.value();
      const JobFolder job(folder / "out", options);
      ASSERT_GE(job.done_before(), promised);
    }
    ASSERT_EQ(records_in(folder / "out"), once_each(items));
  }
  EXPECT_GE(deaths, 50);
}

TEST_F(JobFolderDeathTest, NothingIsLostOrDoubledByKillsAtRandomMoments) {
  die_often(job_options(20), loose_items(200));
}

TEST_F(JobFolderDeathTest, NothingIsLostOrDoubledByKillsWhileTarsAreWritten) {
  JobOptions options = job_options();
  const auto items = in_shards(loose_items(200), options, 20);
  die_often(options, items);
}

/// A whole job, of which some records failed.
void make_job(const fs::path& folder, const JobOptions& options, const std::vector<DatasetItem>& items) {
  Shared committed;
  work_on(folder, options, items, committed.value());
}

void die_while_retrying(JobOptions options, const std::vector<DatasetItem>& items) {
  const TempFolder made;
  make_job(made / "out", options, items);
  JobOptions retry = options;
  retry.retry_failed = true;
  const TempFolder whole;
  fs::copy(made / "out", whole / "out", fs::copy_options::recursive);
  Moments moments(3, [&] { JobFolder(whole / "out", retry).finish(true); });
  int deaths = 0;
  for (int round = 0; round < 40 || (deaths < 10 && round < 400); ++round) {
    const TempFolder folder;
    fs::copy(made / "out", folder / "out", fs::copy_options::recursive);
    const bool died = killed([&] { JobFolder(folder / "out", retry).finish(true); }, moments.next());
    moments.was_in_time(died);
    deaths += died;
    // With the flag or without it what is there has one record an item, and what is not is made.
    run_whole(folder / "out", round % 2 ? retry : options, items);
    ASSERT_EQ(records_in(folder / "out"), once_each(items));
    run_whole(folder / "out", retry, items);
    const JobFolder job(folder / "out", options);
    ASSERT_EQ(job.failed_before(), 0);
    ASSERT_EQ(job.done_before(), static_cast<int64_t>(items.size()));
  }
  EXPECT_GE(deaths, 10);
}

TEST_F(JobFolderDeathTest, AKillWhileFailedRecordsAreTakenOutIsHarmless) {
  die_while_retrying(job_options(20), loose_items(100));
}

TEST_F(JobFolderDeathTest, AKillWhileShardsAreOpenedAgainIsHarmless) {
  JobOptions options = job_options();
  const auto items = in_shards(loose_items(100), options, 20);
  die_while_retrying(options, items);
}

TEST_F(JobFolderDeathTest, RetryMakesFailedRecordsAgainAndNoOthers) {
  const TempFolder folder;
  JobOptions options = job_options(20);
  make_job(folder.path(), options, loose_items(100));
  EXPECT_EQ(JobFolder(folder.path(), options).failed_before(), 14);
  options.retry_failed = true;
  EXPECT_EQ(run_whole(folder.path(), options, loose_items(100)), 14);
  EXPECT_EQ(records_in(folder.path()), once_each(loose_items(100)));
}

TEST_F(JobFolderDeathTest, AFileThatMayNotGrowEndsInASentenceAndAWholeRecord) {
  const TempFolder folder;
  const auto items = loose_items(60);
  // A limit of every kind: within a record, within the journal.
  for (const rlim_t limit : {700u, 1000u, 1501u, 3333u}) {
    const fs::path out = folder / cat("out", limit);
    const pid_t child = fork();
    if (child == 0) {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit most{limit, limit};
      setrlimit(RLIMIT_FSIZE, &most);
      Shared committed;
      const std::string error = error_of([&] { work_on(out, job_options(1000), items, committed.value()); });
      const bool named =
          error.find(out.string()) != std::string::npos && error.find("File too large") != std::string::npos;
      _exit(named ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 0) << limit;
    for (const auto& [key, times] : records_in(out)) EXPECT_EQ(times, 1) << key;
    run_whole(out, job_options(1000), items);
    EXPECT_EQ(records_in(out), once_each(items));
  }
}

TEST_F(JobFolderDeathTest, AFailedWriteCanBeFollowedByFinish) {
  const TempFolder folder;
  const auto items = loose_items(60);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit little{1000, RLIM_INFINITY}, most{RLIM_INFINITY, RLIM_INFINITY};
    JobFolder job(folder / "out", job_options(1000));
    setrlimit(RLIMIT_FSIZE, &little);
    const std::string error = error_of([&] { go_on(job, items); });
    setrlimit(RLIMIT_FSIZE, &most);
    job.finish(false);
    _exit(error == "no error" ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  run_whole(folder / "out", job_options(1000), items);
  EXPECT_EQ(records_in(folder / "out"), once_each(items));
}

}  // namespace
}  // namespace lapidary
