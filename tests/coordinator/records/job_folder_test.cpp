#include "coordinator/records/job_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "tests/coordinator/records/job_helpers.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {
namespace fs = std::filesystem;

class JobFolderTest : public JobTest {};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string state_of(const fs::path& folder) {
  std::ifstream in(folder / "job.json");
  return boost::json::parse(in).as_object().at("state").as_string().c_str();
}

/// A job of which `count` records are made, the last few without a commit, that is then left as a death
/// would.
void begin(const fs::path& folder, const JobOptions& options, const std::vector<DatasetItem>& items,
           int64_t commit_every) {
  JobFolder job(folder, options);
  int64_t made = 0;
  for (DatasetItem item : items) {
    if (job.take_if_done(item)) continue;
    job.add(item, record_of(item));
    if (++made % commit_every == 0) job.commit();
  }
}

TEST_F(JobFolderTest, PartsHaveSoManyRecordsEachAndTheJobIsDone) {
  const TempFolder folder;
  EXPECT_EQ(run_whole(folder / "out", job_options(), loose_items(25)), 25);
  EXPECT_TRUE(fs::exists(folder / "out/part-00000.jsonl"));
  EXPECT_TRUE(fs::exists(folder / "out/part-00001.jsonl"));
  EXPECT_TRUE(fs::exists(folder / "out/part-00002.jsonl"));
  EXPECT_FALSE(fs::exists(folder / "out/part-00003.jsonl"));
  EXPECT_EQ(records_in(folder / "out"), once_each(loose_items(25)));
  EXPECT_EQ(state_of(folder / "out"), "done");
}

TEST_F(JobFolderTest, ADoneJobWithNothingNewStaysAsItIs) {
  const TempFolder folder;
  run_whole(folder / "out", job_options(), loose_items(25));
  std::map<std::string, std::pair<uintmax_t, fs::file_time_type>> before;
  for (const auto& file : fs::directory_iterator(folder / "out"))
    if (file.path().filename() != ".lock") before[file.path()] = {file.file_size(), file.last_write_time()};
  EXPECT_EQ(run_whole(folder / "out", job_options(), loose_items(25)), 0);
  for (const auto& [name, what] : before) {
    EXPECT_EQ(fs::file_size(name), what.first) << name;
    EXPECT_EQ(fs::last_write_time(name), what.second) << name;
  }
}

TEST_F(JobFolderTest, AJobThatWasStoppedKeepsItsOpenPartAndGoesOnInIt) {
  const TempFolder folder;
  {
    JobFolder job(folder / "out", job_options());
    go_on(job, loose_items(13));
    job.finish(false);
  }
  EXPECT_TRUE(fs::exists(folder / "out/.part-00001.jsonl.open"));
  EXPECT_EQ(state_of(folder / "out"), "running");
  {
    JobFolder job(folder / "out", job_options());
    EXPECT_EQ(job.done_before(), 13);
    EXPECT_EQ(go_on(job, loose_items(20)), 7);
    job.finish(true);
  }
  EXPECT_TRUE(fs::exists(folder / "out/part-00001.jsonl"));
  EXPECT_FALSE(fs::exists(folder / "out/part-00002.jsonl"));
  EXPECT_EQ(records_in(folder / "out"), once_each(loose_items(20)));
}

TEST_F(JobFolderTest, AnItemThatIsListedTwiceHasTwoRecords) {
  const TempFolder folder;
  std::vector<DatasetItem> items = loose_items(3);
  items.push_back(items[1]);
  EXPECT_EQ(run_whole(folder / "out", job_options(), items), 4);
  items.push_back(items[1]);
  EXPECT_EQ(run_whole(folder / "out", job_options(), items), 1);
  for (const char* key : {"cats/1.jpg", "cats/1.jpg#2", "cats/1.jpg#3"})
    EXPECT_EQ(records_in(folder / "out")[cat(key, "|caption en")], 1) << key;
}

TEST_F(JobFolderTest, KeysThatAreNoUtf8AndPromptsOfTheirOwnAreFoundAgainWithoutAJournal) {
  const TempFolder folder;
  std::vector<DatasetItem> items = loose_items(3);
  items[0].key = "\xff\xfe.jpg";
  items[1].prompt = "detect cat";
  JobOptions options = job_options();
  run_whole(folder / "out", options, items);
  fs::remove(folder / "out/.journal");
  EXPECT_EQ(run_whole(folder / "out", options, items), 0);
}

TEST_F(JobFolderTest, TheDifferenceToAnotherJobIsNamed) {
  const TempFolder folder;
  run_whole(folder / "out", job_options(), loose_items(1));
  JobOptions other = job_options();
  other.fingerprint[1].second = "detect cat";
  EXPECT_EQ(error_of([&] { JobFolder(folder / "out", other); }),
            (folder / "out").string() +
                " was made with prompt \"caption en\", not \"detect cat\"; use another --output");
  other = job_options();
  other.format = OutputFormat::webdataset;
  EXPECT_TRUE(contains(error_of([&] { JobFolder(folder / "out", other); }), "output format \"jsonl\", not"));
  other = job_options();
  other.fingerprint.emplace_back("seed", "1");
  EXPECT_TRUE(
      contains(error_of([&] { JobFolder(folder / "out", other); }), "with no seed, not with seed \"1\""));
}

TEST_F(JobFolderTest, AFolderOfSomethingElseIsRefusedAndLeftAlone) {
  const TempFolder folder;
  folder.write("thesis.txt", "words");
  const std::string error = error_of([&] { JobFolder(folder.path(), job_options()); });
  EXPECT_TRUE(contains(error, "thesis.txt")) << error;
  EXPECT_FALSE(fs::exists(folder / ".lock"));
  const std::string no_folder = error_of([&] { JobFolder(folder / "thesis.txt", job_options()); });
  EXPECT_TRUE(contains(no_folder, "is no folder")) << no_folder;
}

TEST_F(JobFolderTest, FilesThatSomebodyPutBesideTheRecordsAreNoPartsOfTheJob) {
  const TempFolder folder;
  run_whole(folder.path(), job_options(), loose_items(5));
  folder.write("all.jsonl", folder.read("part-00000.jsonl"));
  folder.write("notes.txt", "mine");
  JobFolder job(folder.path(), job_options());
  EXPECT_EQ(job.done_before(), 5);
  EXPECT_EQ(folder.read("notes.txt"), "mine");
}

TEST_F(JobFolderTest, AnotherProcessThatWorksOnItIsNamed) {
  const TempFolder folder;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const JobFolder job(folder / "out", job_options());
    [[maybe_unused]] const ssize_t told = write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  JobOptions options = job_options();
  options.patience = 0.1;
  EXPECT_EQ(
      error_of([&] { JobFolder(folder / "out", options); }),
      cat((folder / "out").string(), ": another run (process ", child,
          ") works on it, and has not ended within 0.1 s; ranks that start without their launcher's word of "
          "each other are such runs (srun needs --mpi=pmix)"));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(run_whole(folder / "out", job_options(), loose_items(3)), 3);
}

TEST_F(JobFolderTest, AnotherRunThatIsAboutToEndIsWaitedFor) {
  const TempFolder folder;
  auto other = std::make_unique<JobFolder>(folder / "out", job_options());
  std::thread ending([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // mostly the other has found it locked then
    other.reset();
  });
  JobOptions options = job_options();
  options.patience = 60;
  EXPECT_EQ(run_whole(folder / "out", options, loose_items(3)), 3);
  ending.join();
}

TEST_F(JobFolderTest, AJournalCutAtAnyByteStillGivesEachRecordOnce) {
  const TempFolder made;
  const auto items = loose_items(14);
  begin(made / "out", job_options(6), items, 4);
  const auto length = fs::file_size(made / "out/.journal");
  for (uintmax_t bytes = 0; bytes <= length; ++bytes) {
    const TempFolder folder;
    fs::copy(made / "out", folder / "out");
    fs::resize_file(folder / "out/.journal", bytes);
    // Two records were never committed.
    EXPECT_LE(run_whole(folder / "out", job_options(6), items), 2) << bytes;
    EXPECT_EQ(run_whole(folder / "out", job_options(6), items), 0) << bytes;
    ASSERT_EQ(records_in(folder / "out"), once_each(items)) << bytes;
  }
}

TEST_F(JobFolderTest, AJournalWithAnyByteWrongStillGivesEachRecordOnce) {
  const TempFolder made;
  const auto items = loose_items(14);
  begin(made / "out", job_options(6), items, 4);
  const std::string journal = made.read("out/.journal");
  for (size_t at = 0; at < journal.size(); ++at) {
    const TempFolder folder;
    fs::copy(made / "out", folder / "out");
    std::string wrong = journal;
    wrong[at] = static_cast<char>(wrong[at] ^ 0x5a);
    folder.write("out/.journal", wrong);
    EXPECT_EQ(run_whole(folder / "out", job_options(6), items), 0) << at;
    ASSERT_EQ(records_in(folder / "out"), once_each(items)) << at;
  }
}

TEST_F(JobFolderTest, AnOpenPartCutAtAnyByteStillGivesEachRecordOnce) {
  const TempFolder made;
  const auto items = loose_items(10);
  begin(made / "out", job_options(6), items, 3);
  const auto length = fs::file_size(made / "out/.part-00001.jsonl.open");
  for (uintmax_t bytes = 0; bytes <= length; ++bytes) {
    const TempFolder folder;
    fs::copy(made / "out", folder / "out");
    fs::resize_file(folder / "out/.part-00001.jsonl.open", bytes);
    const int64_t redone = run_whole(folder / "out", job_options(6), items);
    EXPECT_GE(redone, 1) << bytes;  // the last one was never committed
    EXPECT_LE(redone, bytes == length ? 1 : 4) << bytes;
    ASSERT_EQ(records_in(folder / "out"), once_each(items)) << bytes;
    EXPECT_EQ(run_whole(folder / "out", job_options(6), items), 0) << bytes;
  }
}

TEST_F(JobFolderTest, GarbageBehindTheLastCommitIsCutOff) {
  const TempFolder folder;
  const auto items = loose_items(5);
  begin(folder.path(), job_options(), items, 2);
  std::ofstream(folder / ".part-00000.jsonl.open", std::ios::app) << "{\"key\": \"x\"}\n"
                                                                  << std::string(99, '\0');
  EXPECT_EQ(run_whole(folder.path(), job_options(), items), 1);  // what was not committed is made again
  EXPECT_EQ(records_in(folder.path()), once_each(items));
}

TEST_F(JobFolderTest, PicturesThatComeBetweenOthersOfTheirKeyAreMadeAndTheOthersKept) {
  const TempFolder folder;
  const auto picture = [](uint64_t identity, const char* prompt) {
    DatasetItem item;
    item.key = "x";
    item.prompt = prompt;
    item.picture = identity;
    item.identity = identity * 100 + static_cast<uint64_t>(prompt[0]) * 2;
    return item;
  };
  std::vector<DatasetItem> items{picture(1, "a"), picture(2, "a"), picture(2, "b")};
  for (size_t i = 0; i < items.size(); ++i) items[i].index = static_cast<int64_t>(i);
  {
    JobFolder job(folder.path(), job_options());
    std::vector<DatasetItem> named = items;
    for (DatasetItem& item : named) ASSERT_FALSE(job.take_if_done(item));
    job.add(named[1], record_of(named[1]));  // the second picture's first prompt alone
    job.commit();
  }
  items.insert(items.begin(), picture(3, "a"));
  for (size_t i = 0; i < items.size(); ++i) items[i].index = static_cast<int64_t>(i);
  JobFolder job(folder.path(), job_options());
  std::vector<std::string> keys;
  for (DatasetItem item : items) {
    const bool done = job.take_if_done(item);
    keys.push_back(done ? "done" : item.key);
    if (!done) job.add(item, record_of(item));
  }
  job.finish(true);
  EXPECT_EQ(keys, (std::vector<std::string>{"x", "x#3", "done", "x#2"}));
  EXPECT_EQ(records_in(folder.path()),
            (std::map<std::string, int>{{"x#2|a", 1}, {"x#2|b", 1}, {"x#3|a", 1}, {"x|a", 1}}));
  EXPECT_EQ(job.numbered_keys(), 1);
}

TEST_F(JobFolderTest, DeathBetweenTheRenameAndTheJournalChangesNothing) {
  const auto items = loose_items(10);
  for (const bool to_closed : {true, false}) {
    const TempFolder folder;
    begin(folder.path(), job_options(6), items, 2);
    if (to_closed)
      fs::rename(folder / ".part-00001.jsonl.open", folder / "part-00001.jsonl");
    else
      fs::rename(folder / "part-00000.jsonl", folder / ".part-00000.jsonl.open");
    EXPECT_EQ(run_whole(folder.path(), job_options(6), items), 0);
    EXPECT_EQ(records_in(folder.path()), once_each(items));
    EXPECT_FALSE(fs::exists(folder / ".part-00000.jsonl.open"));
  }
}

TEST_F(JobFolderTest, AFinishedPartThatSomebodySpoiledIsRefusedAndLeftAsItIs) {
  const TempFolder folder;
  run_whole(folder.path(), job_options(), loose_items(25));
  std::string text = folder.read("part-00001.jsonl");
  text.insert(text.find('\n') + 1, "\n");
  folder.write("part-00001.jsonl", text);
  for (const bool retry : {false, true}) {
    auto options = job_options();
    options.retry_failed = retry;
    const std::string said = error_of([&] { run_whole(folder.path(), options, loose_items(25)); });
    EXPECT_THAT(said, testing::AllOf(testing::HasSubstr("part-00001.jsonl, line 2"),
                                     testing::HasSubstr("no record")));
    EXPECT_EQ(folder.read("part-00001.jsonl"), text);
  }
  text.erase(text.find("\n\n"), 1);
  folder.write("part-00001.jsonl", text);
  EXPECT_EQ(run_whole(folder.path(), job_options(), loose_items(25)), 0);
}

TEST_F(JobFolderTest, APartThatIsGoneIsMadeAgain) {
  const TempFolder folder;
  run_whole(folder.path(), job_options(), loose_items(25));
  fs::remove(folder / "part-00001.jsonl");
  EXPECT_EQ(run_whole(folder.path(), job_options(), loose_items(25)), 10);
  EXPECT_EQ(run_whole(folder.path(), job_options(), loose_items(25)), 0);
  EXPECT_EQ(records_in(folder.path()), once_each(loose_items(25)));
}

TEST_F(JobFolderTest, NamesAFolderUnlessItIsOrSoundsLikeAFile) {
  const TempFolder folder;
  folder.write("file", "");
  fs::create_directory(folder / "odd.jsonl");
  EXPECT_TRUE(names_job_folder(folder / "new"));
  EXPECT_TRUE(names_job_folder(folder / "odd.jsonl"));
  EXPECT_FALSE(names_job_folder(folder / "file"));
  EXPECT_FALSE(names_job_folder(folder / "new.jsonl"));
  EXPECT_FALSE(names_job_folder(""));
}

}  // namespace
}  // namespace lapidary
