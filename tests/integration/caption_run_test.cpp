#include "coordinator/caption/caption_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <set>
#include <thread>

#include "configs/error.h"
#include "tests/support/error_text.h"
#include "tests/support/mock_worker.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

/// Keeps records by key; fails at a key named "full".
class Collected : public RecordSink {
 public:
  void add(const DatasetItem&, const Record& record) override {
    if (record.key == "full") fail("the disk is full");
    records.push_back(record);
  }
  void commit() override { committed = records.size(); }
  void finish(bool whole) override { finished_whole = whole; }

  std::vector<Record> records;
  std::atomic<size_t> committed = 0;
  std::optional<bool> finished_whole;
};

/// A job with a coordinator, a control plane and mock workers, all real but for the model.
class CaptionRunTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.server.version = "test";
    options_.server.settings = {{"dtype", "model"}};
    options_.server.token = "secret";
    settings_.prompt = "caption en";
    settings_.max_new_tokens = 20;
    settings_.eos = std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{MockWorker::kEnd});
    parts_.source = [this, next = int64_t{0}]() mutable -> std::optional<DatasetItem> {
      if (next == static_cast<int64_t>(names_.size())) return std::nullopt;
      DatasetItem item;
      item.index = next;
      item.key = names_[static_cast<size_t>(next++)];
      item.images.push_back(picture_file("/pictures/" + item.key));
      return item;
    };
    parts_.prefix = [](int64_t, const std::string&) { return std::vector<int32_t>{7, 2, 3}; };
    parts_.text = [](std::span<const int32_t> ids) { return std::to_string(ids.size()) + " tokens"; };
    parts_.sink = &sink_;
    parts_.progress = [](const Counts&) {};
    parts_.stop = [] { return false; };
    parts_.fleet.loading = [](int64_t, int64_t) {};
    parts_.fleet.ready = [](int, const std::vector<wire::Ready>&) {};
    parts_.fleet.log = [](const std::string&) {};
    for (int i = 0; i < 500; ++i) names_.push_back("picture" + std::to_string(i));
  }

  /// A thread with a worker each; runs the job here.
  Counts run(const std::vector<MockWorker::Behaviour>& workers) {
    boost::asio::io_context io;
    auto run = std::make_unique<CaptionRun>(io, options_, settings_, parts_);
    std::vector<std::thread> threads;
    prefills_.assign(workers.size(), 0);
    for (size_t i = 0; i < workers.size(); ++i)
      threads.emplace_back([this, i, behaviour = workers[i], endpoints = run->fleet().endpoints()] {
        MockWorker worker(endpoints, behaviour);
        worker.wait();
        prefills_[i] = worker.prefills();
      });
    Counts counts;
    std::exception_ptr trouble;
    try {
      counts = run->run();
    } catch (...) {
      trouble = std::current_exception();
    }
    run.reset();  // workers that were told nothing see their coordinator go
    for (auto& thread : threads) thread.join();
    if (trouble) std::rethrow_exception(trouble);
    return counts;
  }

  std::set<std::string> keys() const {
    std::set<std::string> all;
    for (const Record& record : sink_.records) all.insert(record.key);
    return all;
  }

  FleetOptions options_;
  CaptionSettings settings_;
  CaptionRunParts parts_;
  Collected sink_;
  std::vector<std::string> names_;
  std::vector<int64_t> prefills_;
};

TEST_F(CaptionRunTest, EveryItemGetsOneRecord) {
  const Counts counts = run({{}});
  EXPECT_EQ(counts.done, 500);
  EXPECT_EQ(counts.failed, 0);
  EXPECT_EQ(counts.tokens, 500);
  EXPECT_EQ(sink_.records.size(), 500u);
  EXPECT_EQ(keys(), std::set<std::string>(names_.begin(), names_.end()));
  EXPECT_EQ(sink_.finished_whole, true);
  EXPECT_EQ(sink_.committed, 500u);
  for (const Record& record : sink_.records) {
    EXPECT_EQ(record.text, "1 tokens");
    EXPECT_EQ(record.width, 64);
  }
}

TEST_F(CaptionRunTest, APictureThatCannotBeReadAndAnItemWithAnErrorAreRecordsToo) {
  MockWorker::Behaviour worker;
  worker.readable = [](const std::string& path) { return path != "/pictures/picture7"; };
  const auto source = parts_.source;
  parts_.source = [source] {
    auto item = source();
    if (item && item->key == "picture9") item->error = "list.jsonl, line 9: no JSON";
    return item;
  };
  const Counts counts = run({worker});
  EXPECT_EQ(counts.done, 500);
  EXPECT_EQ(counts.failed, 2);
  for (const Record& record : sink_.records) {
    if (record.key == "picture7") {
      EXPECT_THAT(record.error.value_or(""), HasSubstr("no picture"));
    } else if (record.key == "picture9") {
      EXPECT_THAT(record.error.value_or(""), HasSubstr("line 9"));
    } else {
      EXPECT_FALSE(record.error);
    }
  }
}

TEST_F(CaptionRunTest, AJobWithNothingToDoTellsEachOfItsRanksTheEnd) {
  options_.server.mesh.replicas = 2;
  MockWorker::Behaviour first, second;
  first.mesh.replicas = second.mesh.replicas = 2;
  second.replica = 1;
  for (int i = 0; i < 10; ++i) {  // the ranks come before the list has ended, or after
    names_.clear();
    const Counts counts = run({first, second});  // a rank that found nobody would throw
    EXPECT_EQ(counts.done, 0);
    EXPECT_EQ(sink_.finished_whole, true);
  }
}

TEST_F(CaptionRunTest, ARankThatNeverComesEndsTheJobByItsDeadline) {
  options_.step_deadline_seconds = 0.2;
  options_.server.mesh.replicas = 2;
  MockWorker::Behaviour first;
  first.mesh.replicas = 2;
  parts_.source = [] {  // as many items as are wanted: the other replica alone would never be done
    DatasetItem item;
    item.images.push_back(picture_file("endless"));
    return std::optional(item);
  };
  EXPECT_THAT(error_of([&] { run({first}); }), HasSubstr("none of 1 rank came within 0.2 s"));
}

TEST_F(CaptionRunTest, ReplicasShareTheWork) {
  options_.server.mesh.replicas = 2;
  MockWorker::Behaviour first, second;
  first.mesh.replicas = second.mesh.replicas = 2;
  first.sequences = second.sequences = 4;
  second.replica = 1;
  EXPECT_EQ(run({first, second}).done, 500);
  EXPECT_EQ(sink_.records.size(), 500u);
  EXPECT_EQ(prefills_[0] + prefills_[1], 500);
  EXPECT_GT(prefills_[0], 0);
  EXPECT_GT(prefills_[1], 0);
}

TEST_F(CaptionRunTest, AWorkerThatDiesEndsAJobThatNobodyRestartsAndFinishedRecordsStay) {
  MockWorker::Behaviour worker;
  worker.sequences = 4;
  worker.dies_after_steps = 20;
  EXPECT_THAT(error_of([&] { run({worker}); }), HasSubstr("rank 0 was lost"));
  EXPECT_EQ(sink_.finished_whole, false);
  EXPECT_GT(sink_.records.size(), 0u);
  EXPECT_LT(sink_.records.size(), 500u);
  EXPECT_EQ(sink_.committed, sink_.records.size());
  EXPECT_EQ(keys().size(), sink_.records.size());
}

TEST_F(CaptionRunTest, AStepThatNeverComesBackIsFoundByItsDeadline) {
  options_.step_deadline_seconds = 0.2;
  MockWorker::Behaviour worker;
  worker.answers_steps = false;
  EXPECT_THAT(error_of([&] { run({worker}); }), HasSubstr("--step-deadline"));
}

TEST_F(CaptionRunTest, AFullDiskEndsTheJobWithItsSentence) {
  names_[100] = "full";
  EXPECT_THAT(error_of([&] { run({{}}); }), HasSubstr("the disk is full"));
}

TEST_F(CaptionRunTest, AListThatBreaksEndsTheJobAfterWhatCameBefore) {
  const auto source = parts_.source;
  parts_.source = [source]() -> std::optional<DatasetItem> {
    auto item = source();
    if (item->index == 50) fail("the list broke");
    return item;
  };
  EXPECT_THAT(error_of([&] { run({{}}); }), HasSubstr("the list broke"));
  for (const Record& record : sink_.records) EXPECT_NE(record.key, "picture50");
}

TEST_F(CaptionRunTest, TheUserMayStopIt) {
  parts_.stop = [this] { return sink_.committed > 0; };
  const auto source = parts_.source;
  parts_.source = [source, n = 0]() mutable -> std::optional<DatasetItem> {  // endless
    DatasetItem item;
    item.index = n;
    item.key = "picture" + std::to_string(n++);
    item.images.push_back(picture_file(item.key));
    return item;
  };
  const Counts counts = run({{}});
  EXPECT_EQ(sink_.finished_whole, false);
  EXPECT_EQ(counts.done, static_cast<int64_t>(sink_.records.size()));
}

}  // namespace
}  // namespace lapidary
