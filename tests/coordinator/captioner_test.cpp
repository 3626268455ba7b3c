#include "coordinator/captioner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <set>

#include "configs/error.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr int32_t kEnd = 1;

/// An image's pixels are its file's name. Its text: as many tokens as the name's number says, each made of
/// the number, the prompt's length and the position, so that a mix-up of requests, slots or positions shows.
class FakeModel {
 public:
  wire::StepDone run(const wire::Step& step) {
    ++steps;
    most_rows = std::max(most_rows, step.rows_size());
    for (const wire::Encode& encode : step.encodes()) slots_[encode.slot()] = encode.rgb();
    wire::StepDone done;
    for (const wire::Rows& rows : step.rows()) {
      if (rows.position() == 0) {
        std::string images;
        for (int32_t slot : rows.slots()) images += slots_.at(slot);
        image_of_[rows.request()] = images;
      }
      done.add_tokens(token(image_of_.at(rows.request()), rows));
    }
    return done;
  }

  int steps = 0;
  int most_rows = 0;
  int ended = 0;               // texts
  std::set<uint64_t> endless;  // requests whose text only max_new_tokens ends

 private:
  int32_t token(const std::string& image, const wire::Rows& rows) {
    const int32_t number = std::stoi(image.substr(3));
    const auto made = static_cast<int32_t>(rows.position() + rows.ids_size() - rows.prefix());
    const bool end = made >= number % 10 && !endless.count(rows.request());
    ended += end;
    return end ? kEnd : 1000 * number + 10 * static_cast<int32_t>(rows.prefix()) + made;
  }

  std::map<int32_t, std::string> slots_;
  std::map<uint64_t, std::string> image_of_;
};

class CaptionerTest : public testing::Test {
 protected:
  void SetUp() override {
    settings_.prompt = "caption en";
    settings_.max_new_tokens = 20;
    settings_.eos = {kEnd};
    parts_.load = [this](const fs::path& path) {
      ++loaded_;
      const std::string file = path.filename().string();
      if (file.starts_with("bad")) fail(file, ": no image");
      return LoadedImage{64, 32, file};
    };
    parts_.prefix = [](int64_t images, const std::string& prompt) {
      if (prompt == "refused") fail("not this prompt");
      return std::vector<int32_t>(static_cast<size_t>(4 * images) + prompt.size(), 7);
    };
    parts_.text = [](std::span<const int32_t> ids) {
      std::string text;
      for (int32_t id : ids) text += std::to_string(id) + " ";
      return text;
    };
    parts_.run = [this](const wire::Step& step) { return model_.run(step); };
    parts_.write = [this](const Record& record, const Item&) { records_.push_back(record); };
    parts_.progress = [](const Counts&) {};
    parts_.stop = [] { return false; };
  }

  Counts caption(const std::vector<std::string>& lines, int threads = 2) {
    const fs::path manifest = root_ / "list.jsonl";
    {
      std::ofstream file(manifest);
      for (const std::string& line : lines)
        file << (line[0] == '{' ? line : "{\"image\": \"" + line + "\"}") << "\n";
    }
    Inputs inputs({manifest});
    TaskPool pool(threads);
    Captioner captioner(settings_, limits_, parts_, pool);
    return captioner.caption(inputs);
  }

  std::vector<std::string> written() const {
    std::vector<std::string> keys;
    for (const Record& record : records_) keys.push_back(record.key);
    return keys;
  }

  static std::vector<std::string> many() {
    std::vector<std::string> lines;
    for (int i = 0; i < 40; ++i) lines.push_back("img" + std::to_string(i * 7 % 50));
    return lines;
  }

  TempFolder folder_;
  fs::path root_ = folder_.path();
  CaptionSettings settings_;
  Limits limits_{.sequences = 4, .rows = 64, .pages = 64, .page_tokens = 4, .slots = 4, .length = 60};
  CaptionParts parts_;
  FakeModel model_;
  std::vector<Record> records_;
  std::atomic<int> loaded_ = 0;
};

TEST_F(CaptionerTest, ARecordSaysItAll) {
  const Counts counts = caption({"img13", "{\"image\": \"img2\", \"prompt\": \"detect\", \"id\": \"mine\"}"});
  ASSERT_THAT(records_, SizeIs(2));
  EXPECT_EQ(records_[0].key, "img13");
  EXPECT_EQ(records_[0].prompt, "caption en");
  EXPECT_THAT(records_[0].token_ids, ElementsAre(13140, 13141, 13142));
  EXPECT_EQ(records_[0].text, "13140 13141 13142 ");
  EXPECT_EQ(records_[0].width, 64);
  EXPECT_EQ(records_[0].height, 32);
  EXPECT_FALSE(records_[0].error);
  EXPECT_EQ(records_[1].key, "mine");
  EXPECT_EQ(records_[1].prompt, "detect");
  EXPECT_THAT(records_[1].token_ids, ElementsAre(2100, 2101));
  EXPECT_EQ(counts.total, 2);
  EXPECT_EQ(counts.done, 2);
  EXPECT_EQ(counts.failed, 0);
  EXPECT_EQ(counts.tokens, 5);
}

TEST_F(CaptionerTest, BoxesAreInPixelsOfTheImage) {
  parts_.text = [](std::span<const int32_t>) { return "<loc0256><loc0000><loc0512><loc1023> cat"; };
  caption({"img3"});
  ASSERT_THAT(records_, SizeIs(1));
  ASSERT_THAT(records_[0].boxes, SizeIs(1));
  EXPECT_EQ(records_[0].boxes[0].label, "cat");
  EXPECT_DOUBLE_EQ(records_[0].boxes[0].xyxy[1], 8);
  EXPECT_DOUBLE_EQ(records_[0].boxes[0].xyxy[3], 16);
}

TEST_F(CaptionerTest, SeveralImagesOfOnePrompt) {
  caption({R"({"image": ["img1", "2"], "prompt": ""})"});
  ASSERT_THAT(records_, SizeIs(1));
  EXPECT_THAT(records_[0].token_ids, ElementsAre(12080, 12081)) << "image 1 beside 2 reads 12";
}

TEST_F(CaptionerTest, OrderAndAnswersDoNotDependOnBatchOrThreads) {
  caption(many());
  const auto expected = std::exchange(records_, {});
  ASSERT_THAT(expected, SizeIs(40));
  for (int64_t sequences : {1, 2, 7})
    for (int64_t look_ahead : {1, 3, 100})
      for (int threads : {1, 5}) {
        SCOPED_TRACE(cat(sequences, " ", look_ahead, " ", threads));
        limits_.sequences = limits_.slots = sequences;
        settings_.look_ahead = look_ahead;
        records_.clear();
        model_ = {};
        EXPECT_EQ(caption(many(), threads).done, 40);
        ASSERT_THAT(records_, SizeIs(40));
        for (size_t i = 0; i < 40; ++i) {
          EXPECT_EQ(records_[i].key, expected[i].key);
          EXPECT_EQ(records_[i].token_ids, expected[i].token_ids);
        }
        EXPECT_LE(model_.most_rows, sequences);
      }
}

TEST_F(CaptionerTest, WhatFailsIsARecordAndDisturbsNobody) {
  const Counts counts =
      caption({"img11", "bad1", "{\"image\": \"img12\", \"prompt\": \"refused\"}",
               "{\"image\": \"img13\", \"prompt\": \"" + std::string(50, 'x') + "\"}", "img14"});
  ASSERT_THAT(records_, SizeIs(5));
  EXPECT_THAT(written(), ElementsAre("img11", "bad1", "img12", "img13", "img14"));
  EXPECT_FALSE(records_[0].error);
  EXPECT_EQ(records_[1].error, "bad1: no image");
  EXPECT_EQ(records_[1].width, 0);
  EXPECT_EQ(records_[2].error, "not this prompt");
  EXPECT_EQ(records_[2].width, 64);
  EXPECT_THAT(*records_[3].error, testing::AllOf(HasSubstr("74"), HasSubstr("60"))) << "4 + 50 + 20 tokens";
  EXPECT_FALSE(records_[4].error);
  EXPECT_THAT(records_[4].token_ids, SizeIs(4));
  EXPECT_EQ(counts.failed, 3);
  EXPECT_EQ(counts.done, 5);
}

TEST_F(CaptionerTest, NothingButBrokenImages) {
  settings_.look_ahead = 3;
  const Counts counts = caption(std::vector<std::string>(20, "bad"));
  EXPECT_EQ(counts.failed, 20);
  EXPECT_THAT(records_, SizeIs(20));
  EXPECT_EQ(model_.steps, 0);
}

TEST_F(CaptionerTest, OtherExceptionsOfALoaderAreItsItemsToo) {
  parts_.load = [](const fs::path&) -> LoadedImage { throw std::bad_alloc(); };
  EXPECT_EQ(caption({"img1"}).failed, 1);
}

TEST_F(CaptionerTest, LooksAheadOnlySoFar) {
  settings_.look_ahead = 5;
  int most = 0;
  parts_.progress = [&](const Counts& counts) {
    most = std::max(most, loaded_ - static_cast<int>(counts.done));
  };
  caption(std::vector<std::string>(60, "img9"));
  // Loading, waiting (as many as run), running, and one more that was written after it was counted.
  EXPECT_LE(most, 5 + 4 + 4 + 1);
}

TEST_F(CaptionerTest, StopsBetweenStepsAndKeepsWhatIsFinished) {
  model_.endless = {1};
  parts_.run = [&](const wire::Step& step) {
    while (loaded_ < 7)
      std::this_thread::yield();  // so that request 1 holds up the others, not their loading
    return model_.run(step);
  };
  parts_.stop = [&] { return model_.ended == 3; };
  const Counts counts = caption({"img2", "img9", "img3", "img4", "img9", "img9", "img9"});
  EXPECT_THAT(written(), ElementsAre("img2", "img3", "img4"));
  EXPECT_EQ(counts.done, 3);
  EXPECT_EQ(counts.total, 7);
}

TEST_F(CaptionerTest, AFailingModelEndsItButWhatIsFinishedStays) {
  model_.endless = {0};
  parts_.run = [&](const wire::Step& step) {
    while (loaded_ < 3) std::this_thread::yield();
    if (model_.ended == 2) fail("a rank died");
    return model_.run(step);
  };
  EXPECT_THROW(caption({"img9", "img2", "img3"}), Error);
  EXPECT_THAT(written(), ElementsAre("img2", "img3"));
}

TEST_F(CaptionerTest, AFullDiskEndsIt) {
  parts_.write = [&](const Record& record, const Item&) {
    if (records_.size() == 2) fail("disk full");
    records_.push_back(record);
  };
  EXPECT_THROW(caption(many()), Error);
  EXPECT_THAT(records_, SizeIs(2));
}

}  // namespace
}  // namespace lapidary
