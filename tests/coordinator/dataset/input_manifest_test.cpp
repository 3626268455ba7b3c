#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <thread>

#include "coordinator/dataset/input_lines.h"
#include "tests/coordinator/dataset/inputs_fixture.h"

namespace lapidary {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using ManifestTest = InputsFixture;

TEST_F(ManifestTest, Lines) {
  const auto items =
      all({write("m/list.jsonl",
                 "{\"image\": \"a/b.png\", \"prompt\": \"detect cat\", \"id\": \"cat-1\", \"licence\": 4}\r\n"
                 "\n"
                 "{\"image\": \"/abs/c.png\", \"id\": 17}\n"
                 " \t\n"
                 "{\"image\": [\"d.png\", \"e.png\"], \"prompt\": null}")});
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[0].key, "cat-1");
  EXPECT_EQ(items[0].prompt, "detect cat");
  EXPECT_THAT(paths(items[0]), ElementsAre(at("m/a/b.png")));
  EXPECT_EQ(items[1].key, "17");
  EXPECT_THAT(paths(items[1]), ElementsAre("/abs/c.png"));
  EXPECT_EQ(items[2].key, "d.png");
  EXPECT_THAT(paths(items[2]), ElementsAre(at("m/d.png"), at("m/e.png")));
  EXPECT_FALSE(items[2].prompt);
}

TEST_F(ManifestTest, BadLinesAreNamedAtTheDoor) {
  const auto said = [&](const std::string& second) {
    return refusal({write("m.jsonl", "{\"image\": \"a.png\"}\n\n" + second + "\n")}, true);
  };
  EXPECT_EQ(said("{\"image\": \"b.png\"}"), "");
  for (const char* bad :
       {"{\"image\": ", "[1]", "{\"prompt\": \"x\"}", "{\"image\": 5}", "{\"image\": []}",
        "{\"image\": \"\"}", "{\"image\": \"a\", \"prompt\": 3}", "{\"image\": \"a\", \"prompt\": []}",
        "{\"image\": \"a\", \"prompt\": [3]}", "{\"image\": \"a\", \"id\": {}}", "{\"image\": null}"})
    EXPECT_THAT(said(bad), AllOf(HasSubstr("m.jsonl"), HasSubstr("line 3"))) << bad;
}

TEST_F(ManifestTest, AByteOrderMarkIsPassedOverAndUtf16IsNamed) {
  EXPECT_THAT(keys({write("m.jsonl", "\xef\xbb\xbf{\"image\": \"a.png\"}\n{\"image\": \"b.png\"}\n")}),
              ElementsAre("a.png", "b.png"));
  EXPECT_THAT(refusal({write("m.jsonl", std::string("\xff\xfe{\0\"\0", 6))}),
              HasSubstr("line 1: the file is UTF-16"));
  // Two such files joined.
  EXPECT_THAT(keys({write("m.jsonl", "{\"image\": \"a.png\"}\n\xef\xbb\xbf{\"image\": \"b.png\"}\n")}),
              ElementsAre("a.png", "b.png"));
}

TEST_F(ManifestTest, ANameWithANulByteIsNoOtherFile) {
  EXPECT_THAT(refusal({write("m.jsonl", "{\"image\": \"sea.jpg\\u0000.png\"}\n")}),
              AllOf(HasSubstr("line 1"), HasSubstr("NUL byte")));
  EXPECT_THAT(refusal({write("m.jsonl", "{\"image\": [\"a.png\", \"b\\u0000\"]}\n")}), HasSubstr("NUL byte"));
}

TEST_F(ManifestTest, WhatPythonWritesAndNobodyReadsIsNoMistake) {
  const auto items =
      all({write("m.jsonl",
                 "{\"image\": \"a.png\", \"score\": NaN, \"x\": -Infinity, \"y\": [Infinity]}\n"
                 "{\"image\": \"b.png\", \"alt\": \"\\ud83d\", \"t\": \"NaN \\\" \\udc00 \\ud83d\\ude00\"}\n"
                 "{\"image\": \"c.png\", \"id\": 1.5}\n{\"image\": \"d.png\", \"id\": 2.0}\n"
                 "{\"image\": \"e.png\", \"id\": 18446744073709551615}\n")});
  EXPECT_THAT(keys(items), ElementsAre("a.png", "b.png", "1.5", "2", "18446744073709551615"));
  for (const DatasetItem& item : items) EXPECT_FALSE(item.error);
}

TEST_F(ManifestTest, WhereItIsReadItIsAMistake) {
  for (const char* bad :
       {"{\"image\": \"a.png\", \"id\": NaN}", "{\"image\": \"\\ud800.png\"}",
        "{\"image\": \"a.png\", \"prompt\": \"caption \\udfff\"}", "{\"image\": \"a.png\", \"id\": true}",
        "{\"image\": \"a.png\", \"x\": nan}", "{\"image\": \"a.png\", \"x\": NaNa}"})
    EXPECT_THAT(refusal({write("m.jsonl", std::string(bad) + "\n")}), HasSubstr("m.jsonl, line 1")) << bad;
}

TEST_F(ManifestTest, FilesThatAreNoManifestAreNamedOnce) {
  write("a.png");
  for (const auto& [text, name] : std::vector<std::pair<std::string, std::string>>{
           {"[\n{\"image\": \"a.png\"},\n{\"image\": \"b.png\"}\n]\n", "a list begins here"},
           {"[{\"image\": \"a.png\"}]", "a list begins here"},
           {"\x1f\x8b\b\n\n", "gzip"},
           {"\x28\xb5\x2f\xfd..\n..\n", "zstd"},
           {"PAR1\n\n\n", "Parquet"}}) {
    EXPECT_THAT(refusal({write("m.jsonl", text)}), AllOf(HasSubstr("m.jsonl, line 1"), HasSubstr(name)));
    const auto items = all({at("m.jsonl"), at("a.png")});
    ASSERT_EQ(items.size(), 2u) << name;
    EXPECT_TRUE(items[0].broken_source);
    EXPECT_THAT(*items[0].error, HasSubstr(name));
    EXPECT_THAT(refusal({at("m.jsonl"), at("a.png")}, true), HasSubstr(name));
  }
}

TEST_F(ManifestTest, ABadLineFurtherOnIsAnItemAndTheRestGoesOn) {
  std::string text;
  for (int i = 1; i <= 10'000; ++i) text += "{\"image\": \"" + std::to_string(i) + ".png\"}\n";
  const std::string path = write("m.jsonl", text + "{\"image\": 5}\n{\"image\": \"last.png\"}\n");
  for (const std::vector<std::string>& prompts : {Strings{}, Strings{"a", "b"}}) {
    const auto items = all({path}, prompts);
    const size_t times = std::max<size_t>(1, prompts.size());
    ASSERT_EQ(items.size(), 10'001 * times + 1);
    const DatasetItem& bad = items[10'000 * times];
    EXPECT_EQ(bad.key, path + ":10001");
    EXPECT_TRUE(bad.images.empty());
    EXPECT_THAT(*bad.error, AllOf(HasSubstr("m.jsonl, line 10001: image"), HasSubstr("not a string")));
    EXPECT_EQ(items.back().key, "last.png");
  }
}

TEST_F(ManifestTest, LinesOfAnyLengthUpToTheLimit) {
  const std::string half(9 << 20, 'x');
  const std::string long_line = "{\"image\": \"a.png\", \"prompt\": \"" + half + "\"}";
  write("m.jsonl", "{\"image\": \"0.png\"}\n" + long_line + "\n" + long_line);
  EXPECT_THAT(keys({at("m.jsonl")}), ElementsAre("0.png", "a.png", "a.png#2"));
  EXPECT_THAT(refusal({write("bin.jsonl", half + half)}), HasSubstr("line 1: longer than 16777216 bytes"));
}

TEST_F(ManifestTest, ALineBeyondTheLimitIsAnItemWithAnErrorAndTheRestGoesOn) {
  std::string text;
  for (int i = 1; i <= 10'000; ++i) text += "{\"image\": \"" + std::to_string(i) + ".png\"}\n";
  const std::string path =
      write("m.jsonl", text + std::string(20 << 20, 'x') + "\n{\"image\": \"last.png\"}\n");
  const auto items = all({path});
  ASSERT_EQ(items.size(), 10'002u);
  EXPECT_EQ(items[10'000].key, path + ":10001");
  EXPECT_THAT(*items[10'000].error, HasSubstr("line 10001: longer than 16777216 bytes"));
  EXPECT_EQ(items[10'001].key, "last.png");
}

TEST_F(ManifestTest, PicturesOfSeveralManifestsHaveKeysOfTheirOwn) {
  const std::string lines =
      "{\"image\": \"1.png\"}\n{\"image\": \"/abs/2.png\"}\n{\"image\": \"3.png\", \"id\": 3}\n";
  const std::string a = write("a/m.jsonl", lines), b = write("b/m.jsonl", lines);
  EXPECT_THAT(keys({a}), ElementsAre("1.png", "/abs/2.png", "3"));
  EXPECT_THAT(keys({a, b}),
              ElementsAre(at("a/1.png"), "/abs/2.png", "3", at("b/1.png"), "/abs/2.png#2", "3#2"));
}

TEST_F(ManifestTest, StandardInputIsAListOfPathsAndManifestLines) {
  write("list",
        "a.png\n\n{\"image\": \"b.png\", \"prompt\": \"ocr\"}\r\n/abs/c d.png\r\n{\"image\": 1}\ne.png");
  const int before = dup(STDIN_FILENO);
  const int file = open(at("list").c_str(), O_RDONLY);
  ASSERT_EQ(dup2(file, STDIN_FILENO), STDIN_FILENO);
  close(file);
  Inputs inputs({"-"}, InputRules{{"cap"}, false, {}});
  const auto items = rest(inputs);
  dup2(before, STDIN_FILENO);
  close(before);
  ASSERT_THAT(keys(items), ElementsAre("a.png", "b.png", "/abs/c d.png", "stdin:5", "e.png"));
  EXPECT_THAT(paths(items[0]), ElementsAre((std::filesystem::current_path() / "a.png").string()));
  EXPECT_EQ(items[1].prompt, "ocr");
  EXPECT_EQ(items[2].prompt, "cap");
  EXPECT_THAT(paths(items[2]), ElementsAre("/abs/c d.png"));
  EXPECT_THAT(*items[3].error, HasSubstr("standard input, line 5"));
}

TEST_F(ManifestTest, ALineOfAPipeIsGivenBeforeTheNextIsThere) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int before = dup(STDIN_FILENO);
  dup2(ends[0], STDIN_FILENO);
  LineReader lines("-");
  std::string_view line;
  for (const std::string text : {"one", "two"}) {
    ASSERT_EQ(::write(ends[1], (text + "\n").data(), 4), 4);
    ASSERT_TRUE(lines.next(line));  // waits for ever if it wants more than is there
    EXPECT_EQ(line, text);
  }
  close(ends[1]);
  EXPECT_FALSE(lines.next(line));
  dup2(before, STDIN_FILENO);
  for (const int fd : {before, ends[0]}) close(fd);
}

TEST_F(ManifestTest, ALineThatIsNotWantedAnyMoreIsNotWaitedFor) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int before = dup(STDIN_FILENO);
  dup2(ends[0], STDIN_FILENO);
  ASSERT_EQ(::write(ends[1], "one\nhalf a li", 13), 13);
  Inputs inputs({"-"});
  ASSERT_TRUE(inputs.next());
  std::thread canceller([&] { inputs.cancel(); });
  EXPECT_FALSE(inputs.next());  // the pipe stays open: it would wait for ever
  canceller.join();
  EXPECT_FALSE(inputs.next());
  dup2(before, STDIN_FILENO);
  for (const int fd : {before, ends[0], ends[1]}) close(fd);
}

/// Run by hand; 1.2 GB of disk.
TEST_F(ManifestTest, DISABLED_TenMillionLines) {
  constexpr int kLines = 10'000'000;
  {
    std::ofstream out(at("big.jsonl"));
    for (int i = 0; i < kLines; ++i)
      out << R"({"image": "images/part-000/)" << i << R"(.jpg", "prompt": "caption en", "id": "sample-)" << i
          << "\"}\n";
  }
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point then) {
    return std::chrono::duration<double>(Clock::now() - then).count();
  };
  auto start = Clock::now();
  Inputs inputs({at("big.jsonl")});
  std::cout << "door " << seconds_since(start) << " s\n";
  start = Clock::now();
  int64_t items = 0;
  while (inputs.next()) ++items;
  const double read = seconds_since(start);
  start = Clock::now();
  const std::atomic<bool> cancelled{false};
  EXPECT_EQ(count_items({at("big.jsonl")}, 1, cancelled), kLines);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::cout << "read " << kLines / read << " lines/s, counted " << kLines / seconds_since(start)
            << " lines/s, at most " << usage.ru_maxrss / 1024 << " MiB\n";
  EXPECT_EQ(items, kLines);
}

}  // namespace
}  // namespace lapidary
