// Workers that say what cannot be, in every field of every message that a worker sends, to a real
// coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <future>
#include <limits>
#include <thread>

#include "configs/error.h"
#include "coordinator/caption/caption_run.h"
#include "coordinator/fleet/worker_check.h"
#include "tests/support/error_text.h"
#include "tests/support/mock_worker.h"

namespace lapidary {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using testing::HasSubstr;

constexpr int kItems = 300;

/// Puts the number into the field that the path ("ready.capacity.max_num_seqs") names below `message`; a text
/// of as many bytes into bytes.
/// False where the message is not the one that has it.
bool tell(Message& message, const std::string& path, int64_t number) {
  const size_t dot = path.find('.');
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(path.substr(0, dot));
  const auto* reflection = message.GetReflection();
  if (dot != path.npos) {
    if (field->is_repeated())
      return tell(*reflection->AddMessage(&message, field), path.substr(dot + 1), number);
    if (!reflection->HasField(message, field)) return false;
    return tell(*reflection->MutableMessage(&message, field), path.substr(dot + 1), number);
  }
  const auto small = static_cast<int32_t>(
      std::clamp<int64_t>(number, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      field->is_repeated() ? reflection->SetRepeatedInt32(&message, field, 0, small)
                           : reflection->SetInt32(&message, field, small);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      field->is_repeated() ? reflection->AddInt64(&message, field, number)
                           : reflection->SetInt64(&message, field, number);
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      reflection->SetUInt64(&message, field, static_cast<uint64_t>(number));
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      reflection->SetString(&message, field, std::string(static_cast<size_t>(number), '\033'));
      break;
    default:
      ADD_FAILURE() << path << " is of a kind that nothing here lies about";
  }
  return true;
}

/// Every field that can be a number or bytes, below what workers say; others are told apart by hand.
void add_paths(const Descriptor& message, const std::string& before, std::vector<std::string>& paths) {
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    if (field.message_type() != nullptr)
      add_paths(*field.message_type(), before + field.name() + ".", paths);
    else
      paths.push_back(before + field.name());
  }
}

std::vector<std::string> said_paths() {
  std::vector<std::string> paths;
  for (const char* body : {"ready", "loading", "step_done", "encoded", "heartbeat", "fault"})
    add_paths(*wire::Frame::descriptor()->FindFieldByName(body)->message_type(), std::string(body) + ".",
              paths);
  return paths;
}

/// What is there to know about it, but any value may be meant, or it is not used: the job goes on.
bool harmless(const std::string& path) {
  return path == "encoded.reused" || path == "encoded.orientation_left" || path == "heartbeat.spans.kind" ||
         path == "heartbeat.spans.number" || path == "heartbeat.spans.prefills" ||
         path == "ready.capacity.max_encode_images" || path == "ready.description";
}

class LyingWorkerTest : public testing::Test {
 protected:
  struct Outcome {
    Counts counts;
    std::vector<Record> records;
    std::string log;
    std::string failure;  // empty: none
  };

  class Kept : public RecordSink {
   public:
    explicit Kept(std::vector<Record>& records) : records_(records) {}
    void add(const DatasetItem&, const Record& record) override { records_.push_back(record); }
    void finish(bool) override {}

   private:
    std::vector<Record>& records_;
  };

  /// Two replicas, of which replica 0 lies, and the other is honest and comes once the lie is told.
  Outcome run(const MockWorker::Behaviour& liar) {
    Outcome outcome;
    FleetOptions options;
    options.server.version = "test";
    options.server.settings = {{"dtype", "model"}};
    options.server.token = "secret";
    options.server.mesh.replicas = 2;
    options.rejoin = true;
    options.capacity = MockWorker::capacity({});
    options.vocab_size = 2000;
    options.server.spans = true;
    options.step_deadline_seconds = 30;
    CaptionSettings settings;
    settings.max_new_tokens = 5;
    settings.eos = std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{MockWorker::kEnd});
    Kept sink(outcome.records);
    std::promise<void> told;
    bool is_told = false;
    CaptionRunParts parts;
    parts.source = [next = 0]() mutable -> std::optional<DatasetItem> {
      if (next == kItems) return std::nullopt;
      DatasetItem item;
      item.index = next;
      item.key = cat("picture", next++);
      item.images.push_back(picture_file("/pictures/" + item.key));
      return item;
    };
    parts.prefix = [](int64_t, const std::string&) { return std::vector<int32_t>{7, 2, 3}; };
    parts.text = [](std::span<const int32_t> ids) { return cat(ids.size(), " tokens"); };
    parts.sink = &sink;
    parts.progress = [](const Counts&) {};
    parts.stop = [] { return false; };
    parts.fleet.loading = [](int64_t, int64_t) {};
    parts.fleet.ready = [](int, const std::vector<wire::Ready>&) {};
    parts.fleet.log = [&](const std::string& line) {
      outcome.log += line + "\n";
      if (!is_told && line.find("died") != line.npos) {
        is_told = true;
        told.set_value();
      }
    };
    boost::asio::io_context io;
    CaptionRun run(io, options, settings, parts);
    const auto endpoints = run.fleet().endpoints();
    std::thread lying([&] {
      MockWorker worker(endpoints, liar);
      worker.wait();
    });
    std::thread honest([&, heard = told.get_future()] {
      heard.wait_for(std::chrono::seconds(harmless_ ? 0 : 20));
      MockWorker::Behaviour behaviour;
      behaviour.mesh.replicas = 2;
      behaviour.replica = 1;
      MockWorker worker(endpoints, behaviour);
      worker.wait();
    });
    try {
      outcome.counts = run.run();
    } catch (const std::exception& e) {
      outcome.failure = e.what();
    }
    lying.join();
    honest.join();
    return outcome;
  }

  static MockWorker::Behaviour liar(std::function<bool(wire::Frame&)> lie) {
    MockWorker::Behaviour behaviour;
    behaviour.mesh.replicas = 2;
    behaviour.tells = [lie = std::move(lie), told = false](wire::Frame& frame) mutable {
      if (!told) told = lie(frame);
    };
    return behaviour;
  }

  static void expect_whole(const Outcome& outcome) {
    EXPECT_EQ(outcome.failure, "");
    EXPECT_EQ(outcome.counts.done, kItems);
    EXPECT_EQ(outcome.counts.failed, 0);
    ASSERT_EQ(outcome.records.size(), static_cast<size_t>(kItems));
    for (const Record& record : outcome.records) {
      EXPECT_FALSE(record.error) << *record.error;
      EXPECT_EQ(record.text, "1 tokens");
    }
  }

  bool harmless_ = false;
};

TEST_F(LyingWorkerTest, EveryFieldOfEveryMessageIsContainedAndNamed) {
  constexpr int64_t kNumbers[] = {std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min(),
                                  -1, 3};
  int lies = 0;
  for (const std::string& path : said_paths()) {
    if (harmless(path)) continue;
    const bool text = path == "fault.reason" || path == "encoded.error";
    for (const int64_t number : kNumbers) {
      if (text && number != -1) continue;
      if (number == 3 && !path.starts_with("ready.capacity")) continue;  // it may be true
      SCOPED_TRACE(cat(path, " ", number));
      const Outcome outcome = run(liar([&](wire::Frame& frame) {
        if (path.starts_with("fault") && frame.has_step_done()) frame.mutable_fault();
        return tell(frame, path, text ? 1 << 20 : number);
      }));
      expect_whole(outcome);
      EXPECT_THAT(outcome.log, HasSubstr("replica 0 died: ")) << outcome.log;
      EXPECT_LT(outcome.log.size(), 8192u);
      EXPECT_EQ(outcome.log.find('\033'), std::string::npos);
      ++lies;
    }
  }
  EXPECT_GT(lies, 60);
}

TEST_F(LyingWorkerTest, FieldsThatNothingHangsOnStopNothing) {
  harmless_ = true;
  for (const std::string path :
       {"heartbeat.spans.number", "ready.description", "ready.capacity.max_encode_images"}) {
    SCOPED_TRACE(path);
    expect_whole(run(liar([&](wire::Frame& frame) { return tell(frame, path, 1 << 20); })));
  }
}

TEST_F(LyingWorkerTest, WhatNoWorkerSaysAtThatTimeIsContainedToo) {
  const std::pair<const char*, std::function<bool(wire::Frame&)>> lies[] = {
      {"ready twice",
       [](wire::Frame& frame) {
         if (!frame.has_encoded()) return false;
         *frame.mutable_ready()->mutable_capacity() = MockWorker::capacity({});
         return true;
       }},
      {"a token more",
       [](wire::Frame& frame) {
         if (frame.has_step_done()) frame.mutable_step_done()->add_tokens(5);
         return frame.has_step_done();
       }},
      {"no tokens",
       [](wire::Frame& frame) {
         if (frame.has_step_done()) frame.mutable_step_done()->clear_tokens();
         return frame.has_step_done();
       }},
      {"a welcome",
       [](wire::Frame& frame) {
         if (frame.has_step_done()) frame.mutable_welcome();
         return frame.has_welcome();
       }},
      {"a token beyond the vocabulary", [](wire::Frame& frame) {
         if (!frame.has_step_done()) return false;
         frame.mutable_step_done()->set_tokens(0, 2000);
         return true;
       }}};
  for (const auto& [what, lie] : lies) {
    SCOPED_TRACE(what);
    const Outcome outcome = run(liar(lie));
    expect_whole(outcome);
    EXPECT_THAT(outcome.log, HasSubstr("replica 0 died: "));
  }
}

TEST(WorkerCheck, TextsAreFitToBeShown) {
  EXPECT_EQ(shown_text("cpu avx2,\n2 threads\t…"), "cpu avx2,\n2 threads\t…");
  EXPECT_EQ(shown_text(std::string("a\033[2Jb\0c\x7f", 9)), "a?[2Jb?c?");
  EXPECT_EQ(shown_text(std::string(5000, 'x')), std::string(4096, 'x') + "… (5000 bytes)");
}

}  // namespace
}  // namespace lapidary
