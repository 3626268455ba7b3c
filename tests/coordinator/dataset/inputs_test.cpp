#include "coordinator/dataset/inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <sys/stat.h>

#include <map>

#include "coordinator/dataset/file_names.h"
#include "tests/coordinator/dataset/inputs_fixture.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using InputsTest = InputsFixture;

/// Another working folder, for as long as it lives.
class Inside {
 public:
  explicit Inside(const fs::path& folder) : before_(fs::current_path()) { fs::current_path(folder); }
  ~Inside() { fs::current_path(before_); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  fs::path before_;
};

TEST_F(InputsTest, FolderIsListedDeepAndSortedByTheWholePath) {
  for (const char* name : {"b.png", "a/z.JPG", "a/b/c.WebP", "a-x.jpeg", "a.png", "notes.txt", ".hidden.png",
                           ".git/x.png", "empty/readme"})
    write(name);
  const auto items = all({root_});
  EXPECT_THAT(keys(items), ElementsAre("a-x.jpeg", "a.png", "a/b/c.WebP", "a/z.JPG", "b.png"));
  EXPECT_THAT(paths(items[3]), ElementsAre(at("a/z.JPG")));
  EXPECT_FALSE(items[0].prompt);
  EXPECT_FALSE(items[0].error);
  EXPECT_EQ(items[0].shard, -1);
}

TEST_F(InputsTest, LinkedFoldersCountButNotTheWayBack) {
  write("one/a.png");
  write("two/b.png");
  fs::create_directory_symlink(root_ / "two", root_ / "one/linked");
  fs::create_directory_symlink(root_ / "one", root_ / "two/back");
  fs::create_symlink(root_ / "one/a.png", root_ / "one/same.png");
  EXPECT_THAT(keys({at("one")}), ElementsAre("a.png", "linked/b.png", "same.png"));
}

TEST_F(InputsTest, FilesAreTakenAsGivenAndSeveralSourcesInTheirOrder) {
  write("f/2.png");
  write("f/1.png");
  write("odd.bin");
  write("m.jsonl", "{\"image\": \"p.png\"}\n{\"image\": \"q.png\"}\n");
  const Inside inside(root_);
  EXPECT_THAT(keys({"odd.bin", "m.jsonl", "f//", "m.jsonl", "./f/2.png", "odd.bin"}),
              ElementsAre("odd.bin", "p.png", "q.png", "f/1.png", "f/2.png", "p.png#2", "q.png#2",
                          "f/2.png#2", "odd.bin#2"));
  const auto items = all({"odd.bin", "m.jsonl", "f", "."});
  for (const DatasetItem& item : items) EXPECT_TRUE(fs::path(item.images.at(0)->path()).is_absolute());
  EXPECT_EQ(items[2].images[0]->path(), at("q.png"));
}

TEST_F(InputsTest, EveryPromptOfTheCommandIsAnItemUnlessThePictureBringsItsOwn) {
  write("a.png");
  write("m.jsonl",
        "{\"image\": \"b.png\", \"prompt\": [\"x\", \"y\", \"z\"]}\n"
        "{\"image\": \"c.png\", \"prompt\": \"own\"}\n{\"image\": \"d.png\"}\n");
  std::vector<std::string> got;
  for (const DatasetItem& item : all({at("a.png"), at("m.jsonl")}, {"cap", "ocr"}))
    got.push_back(fs::path(item.key).filename().string() + " " + *item.prompt);
  EXPECT_THAT(got, ElementsAre("a.png cap", "a.png ocr", "b.png x", "b.png y", "b.png z", "c.png own",
                               "d.png cap", "d.png ocr"));
  EXPECT_THAT(keys({at("m.jsonl")}), ElementsAre("b.png", "b.png", "b.png", "c.png", "d.png"));
}

TEST_F(InputsTest, GlobsAndBracesStandForWhatIsThere) {
  for (const char* name : {"s/b10.png", "s/b9.png", "s/a.png", "s/c.txt", "t/a.png"}) write(name);
  const Inside inside(root_);
  EXPECT_THAT(keys({"s/*.png"}), ElementsAre("s/a.png", "s/b10.png", "s/b9.png"));
  EXPECT_THAT(keys({"s/b{9..10}.png"}), ElementsAre("s/b9.png", "s/b10.png"));
  EXPECT_THAT(keys({"{t,s}/[ab].png"}), ElementsAre("t/a.png", "s/a.png"));
  EXPECT_THAT(keys({"[st]"}), ElementsAre("s/a.png", "s/b10.png", "s/b9.png", "t/a.png"));
  EXPECT_THAT(refusal({"s/*.jpeg"}), AllOf(HasSubstr("s/*.jpeg"), HasSubstr("no file or folder matches")));
  EXPECT_THAT(refusal({"s/b{8..10}.png"}),
              AllOf(HasSubstr("s/b{8..10}.png"), HasSubstr("s/b8.png: no such file")));
}

TEST_F(InputsTest, WhatExistsIsNoPattern) {
  for (const char* name : {"a[1].png", "a1.png", "b{1,2}.png", "b1.png", "b2.png", "*.png"}) write(name);
  const Inside inside(root_);
  EXPECT_THAT(keys({"a[1].png", "b{1,2}.png", "*.png"}), ElementsAre("a[1].png", "b{1,2}.png", "*.png"));
}

TEST_F(InputsTest, NothingToDoIsAMistake) {
  write("empty/readme.txt");
  fs::create_directory_symlink(root_ / "empty", root_ / "empty/again");
  EXPECT_THAT(refusal({}), HasSubstr("no input"));
  EXPECT_THAT(refusal({""}), HasSubstr("empty"));
  EXPECT_THAT(refusal({at("nowhere")}), AllOf(HasSubstr("nowhere"), HasSubstr("no such file")));
  EXPECT_THAT(refusal({write("file") + "/below.png"}), HasSubstr("no such file"));
  EXPECT_THAT(refusal({at("empty")}), AllOf(HasSubstr("empty"), HasSubstr("without images")));
  EXPECT_THAT(refusal({write("none.jsonl", "\n\n")}),
              AllOf(HasSubstr("none.jsonl"), HasSubstr("without lines")));
  EXPECT_THAT(refusal({"-", "-"}), HasSubstr("twice"));
  ASSERT_EQ(mkfifo(at("pipe.jsonl").c_str(), 0600), 0);
  EXPECT_THAT(refusal({at("pipe.jsonl")}), HasSubstr("not a regular file"));
}

TEST_F(InputsTest, AFolderThatGoesAwayIsAnItemWithAnError) {
  for (const char* name : {"f/a.png", "f/b/c.png", "f/d.png", "g/x.png", "m.jsonl"})
    write(name, "{\"image\": \"x\"}");
  Inputs inputs({at("f"), at("g"), at("m.jsonl"), at("f/d.png")});
  EXPECT_EQ(inputs.next()->key, at("f/a.png"));
  fs::remove_all(root_ / "f/b");
  fs::remove_all(root_ / "g");
  fs::remove(root_ / "m.jsonl");
  const auto items = rest(inputs);
  ASSERT_THAT(keys(items), ElementsAre(at("f/b/"), at("f/d.png"), at("g/"), at("m.jsonl"), at("f/d.png")));
  for (const size_t broken : {0, 2, 3}) EXPECT_TRUE(items[broken].broken_source);
  EXPECT_FALSE(items[1].broken_source);
  EXPECT_THAT(*items[0].error, HasSubstr(at("f/b")));
  EXPECT_THAT(*items[2].error, HasSubstr(at("g")));
  EXPECT_THAT(*items[3].error, HasSubstr("cannot be opened"));
  EXPECT_FALSE(items[1].error);
  EXPECT_FALSE(items[4].error);
}

TEST_F(InputsTest, CountingCanBeCancelledAndSaysNothingOfStandardInput) {
  write("a.png");
  const std::atomic<bool> cancelled{true}, not_cancelled{false};
  EXPECT_EQ(count_items({root_}, 1, cancelled), std::nullopt);
  EXPECT_EQ(count_items({root_, "-"}, 1, not_cancelled), std::nullopt);
  EXPECT_EQ(count_items({at("gone")}, 1, not_cancelled), std::nullopt);
  EXPECT_EQ(count_items({root_}, 0, not_cancelled), 1);
  EXPECT_EQ(count_items({root_}, 3, not_cancelled), 3);
}

const std::string kJpeg = "\xff\xd8\xff\xe0 and so on";

TEST_F(InputsTest, APictureIsOneByItsBytesAndWhatIsNoneIsCounted) {
  for (const char* name : {"a.JPG", "b.jfif", "c.jpe"}) write("f/" + std::string(name), "by its name");
  write("f/d", kJpeg);
  write("f/e.img", std::string("\x89PNG\r\n\x1a\n", 8));
  write("f/g.txt", std::string("RIFF\1\2\3\4WEBPVP8 ", 16));
  write("f/i.txt", "RIFF1234WAVE, no picture");
  for (const char* name : {"j.gif", "k.gif", "l", "m.txt", "n"}) write("f/" + std::string(name), "GIF89a");
  write("f/.hidden.jpg", kJpeg);
  write("f/.git/h.jpg", kJpeg);
  write("f/o/p.png");
  fs::create_directory_symlink(root_ / "f", root_ / "f/o/up");
  ASSERT_EQ(mkfifo(at("f/pipe").c_str(), 0600), 0);
  EXPECT_THAT(keys({at("f")}), ElementsAre("a.JPG", "b.jfif", "c.jpe", "d", "e.img", "g.txt", "o/p.png"));
  EXPECT_EQ(left_out({at("f")}),
            "6 files are no JPEG, PNG or WebP (2 .gif, 2 .txt, 2 without extension), 2 hidden, 1 link leads "
            "back to "
            "a folder above, 1 file cannot be opened");
  EXPECT_EQ(left_out({at("f/o/p.png")}), "");
}

TEST_F(InputsTest, ANameThatIsNoUtf8IsWrittenSoThatKeysStillDiffer) {
  for (const char* name : {"caf\xe9.jpg", "caf\xe8.jpg", "\xff\xfe.jpg", "caf\\xe9.jpg", "caf\xc3\xa9.jpg"})
    write("f/" + std::string(name));
  EXPECT_THAT(keys({at("f")}), ElementsAre("caf\\xe9.jpg", "caf\xc3\xa9.jpg", "caf\\xe8.jpg",
                                           "caf\\xe9.jpg#2", "\\xff\\xfe.jpg"));
}

TEST_F(InputsTest, NoTwoPicturesShareAKeyAndNoTwoItemsKeyAndPrompt) {
  write("m.jsonl",
        "{\"image\": \"a.png\", \"id\": \"x\"}\n{\"image\": \"b.png\", \"id\": \"x\"}\n"
        "{\"image\": \"c.png\", \"id\": \"x#2\"}\n{\"image\": \"d.png\", \"id\": \"x\"}\n"
        "{\"image\": \"e.png\", \"prompt\": [\"p\", \"q\", \"p\"]}\n");
  EXPECT_THAT(keys({at("m.jsonl")}), ElementsAre("x", "x#2", "x#2#2", "x#3", "e.png", "e.png", "e.png#2"));
}

TEST_F(InputsTest, KeysOfAManifestThatRepeatsOneManyTimes) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "{\"image\": \"a.png\"}\n";
  const auto items = all({write("m.jsonl", text)});
  EXPECT_EQ(items[1].key, "a.png#2");
  EXPECT_EQ(items.back().key, "a.png#20000");
}

/// Keys by the paths of the pictures.
std::map<std::string, std::string> keys_by_path(Inputs& inputs) {
  std::map<std::string, std::string> keys;
  ItemKeys names;
  while (auto item = inputs.next()) {
    names.name(*item);
    keys[fs::path(item->images.at(0)->path()).lexically_normal()] = item->key;
  }
  return keys;
}

TEST_F(InputsTest, KeysStayWhenSourcesAreAddedMovedOrSpelledOtherwise) {
  for (const char* name : {"p1/a.jpg", "p1/b.jpg", "p2/a.jpg"}) write(name);
  write("m.jsonl", "{\"image\": \"p1/a.jpg\", \"id\": \"x\"}\n");
  write("n.jsonl", "{\"image\": \"p2/a.jpg\", \"id\": \"x\"}\n");
  const Inside inside(root_);
  Inputs first({"p1"});
  const auto known = first.labelled();
  const auto keys = keys_by_path(first);
  EXPECT_EQ(keys.at(at("p1/a.jpg")), "a.jpg");
  for (const Strings& sources : {Strings{"./p1//", "p2"}, Strings{"p2", "p1"}, Strings{at("p1"), "p2"}}) {
    Inputs again(sources, InputRules{{}, false, known});
    auto more = keys_by_path(again);
    EXPECT_EQ(more.at(at("p2/a.jpg")), "p2/a.jpg");
    more.erase(at("p2/a.jpg"));
    EXPECT_EQ(more, keys);
  }
  // Of two pictures with one id the one that was there first keeps it.
  Inputs manifest({"m.jsonl"});
  Inputs both({"n.jsonl", "m.jsonl"}, InputRules{{}, false, manifest.labelled()});
  const auto ids = keys_by_path(both);
  EXPECT_EQ(ids.at(at("p1/a.jpg")), "x");
  EXPECT_EQ(ids.at(at("p2/a.jpg")), "x#2");
}

TEST_F(InputsTest, ImageNames) {
  for (const char* name : {"a.jpg", "b.JPEG", "c/d.Png", "e.webp", "f.jfif", "g.JPE", "h.jfi", "i.jpg.jpg"})
    EXPECT_TRUE(is_image_name(name));
  for (const char* name : {"", "jpg", "a.jpg.txt", ".jpg", "a.gif", "x.png/y"})
    EXPECT_FALSE(is_image_name(name));
}

}  // namespace
}  // namespace lapidary
