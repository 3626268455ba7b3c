#include "coordinator/records/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <optional>
#include <sstream>

#include "configs/error.h"
#include "coordinator/records/durable.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class OutputTest : public testing::Test {
 protected:
  static std::string read(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  template <class Body>
  static std::string refusal(Body&& body) {
    try {
      body();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  TempFolder folder_;
  fs::path root_ = folder_.path();
};

TEST_F(OutputTest, ALineIsThereAsSoonAsItIsWritten) {
  LineOutput output(root_ / "out.jsonl");
  output.write("one");
  EXPECT_EQ(read(root_ / "out.jsonl"), "one\n");
  output.write("two");
  EXPECT_EQ(read(root_ / "out.jsonl"), "one\ntwo\n");
  output.finish();
  EXPECT_EQ(output.lines(), 2);
}

TEST_F(OutputTest, AnOldFileIsKeptUntilThereIsSomethingNew) {
  std::ofstream(root_ / "out.jsonl") << "older and longer\n";
  { LineOutput output(root_ / "out.jsonl"); }
  EXPECT_EQ(read(root_ / "out.jsonl"), "older and longer\n");
  LineOutput output(root_ / "out.jsonl");
  output.write("new");
  EXPECT_EQ(read(root_ / "out.jsonl"), "new\n");
}

TEST_F(OutputTest, ABadPathIsKnownAtOnce) {
  EXPECT_THAT(refusal([&] { LineOutput output(root_ / "no/such/out.jsonl"); }),
              AllOf(HasSubstr("no/such/out.jsonl"), HasSubstr("No such file")));
  EXPECT_THAT(refusal([&] { LineOutput output(root_); }), HasSubstr("directory"));
}

TEST_F(OutputTest, TwoProgramsDoNotWriteToOneFile) {
  std::optional<LineOutput> first(root_ / "out.jsonl");
  EXPECT_THAT(refusal([&] { LineOutput second(root_ / "out.jsonl", 0.1); }),
              AllOf(HasSubstr("out.jsonl: another run writes to it"), HasSubstr("0.1 s")));
  first->write("one");
  first.reset();
  LineOutput second(root_ / "out.jsonl", 0.1);
  LineOutput null("/dev/null"), null_too("/dev/null", 0.1);
}

TEST_F(OutputTest, ADeviceOrALinkIsWrittenThroughNotReplaced) {
  fs::create_symlink("/dev/null", root_ / "device");
  write_durably(root_ / "device", "text");
  EXPECT_TRUE(fs::is_symlink(root_ / "device"));
  EXPECT_TRUE(fs::is_character_file(root_ / "device"));
  std::ofstream(root_ / "file") << "old";
  fs::create_symlink(root_ / "file", root_ / "link");
  write_durably(root_ / "link", "new");
  EXPECT_TRUE(fs::is_symlink(root_ / "link"));
  EXPECT_EQ(read(root_ / "file"), "new");
  fs::create_symlink("/dev/full", root_ / "full");
  EXPECT_THAT(refusal([&] { write_durably(root_ / "full", "text"); }), HasSubstr("No space left"));
}

TEST_F(OutputTest, FullDevice) {
  LineOutput output("/dev/full");
  EXPECT_THAT(refusal([&] { output.write("x"); }),
              AllOf(HasSubstr("/dev/full"), HasSubstr("No space left"), HasSubstr("0 records")));
}

/// The largest file a process may write stands in for a disk that fills in the middle of a line.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST_F(OutputTest, WhatDidNotFitIsTakenBack) {
  LineOutput output(root_ / "out.jsonl");
  std::string said;
  {
    const FileSizeLimit limit(25);
    output.write("0123456789");
    output.write("0123456789");
    said = refusal([&] { output.write("0123456789"); });
  }
  EXPECT_THAT(said, AllOf(HasSubstr("out.jsonl"), HasSubstr("2 records are written")));
  EXPECT_EQ(read(root_ / "out.jsonl"), "0123456789\n0123456789\n");
}

TEST_F(OutputTest, NothingToSayLeavesAnEmptyFile) {
  std::ofstream(root_ / "out.jsonl") << "old\n";
  LineOutput(root_ / "out.jsonl").finish();
  EXPECT_EQ(read(root_ / "out.jsonl"), "");
}

}  // namespace
}  // namespace lapidary
