#include "coordinator/inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "configs/error.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class InputsTest : public testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& text = "x") const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
    return root_ / name;
  }

  static std::vector<Item> all(Inputs inputs) {
    std::vector<Item> items;
    while (auto item = inputs.next()) items.push_back(*item);
    EXPECT_EQ(static_cast<int64_t>(items.size()), inputs.total());
    return items;
  }
  static std::vector<std::string> keys(const std::vector<fs::path>& sources) {
    std::vector<std::string> names;
    for (const Item& item : all(Inputs(sources))) names.push_back(item.key);
    return names;
  }
  static std::string refusal(const std::vector<fs::path>& sources) {
    try {
      Inputs inputs(sources);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  TempFolder folder_;
  fs::path root_ = folder_.path();
};

TEST_F(InputsTest, FolderIsListedDeepAndSorted) {
  for (const char* name :
       {"b.png", "a/z.JPG", "a/b/c.WebP", "a-x.jpeg", "notes.txt", ".hidden.png", ".git/x.png"})
    write(name);
  const auto items = all(Inputs({root_}));
  ASSERT_EQ(items.size(), 4u);
  EXPECT_EQ(items[0].key, "a-x.jpeg");
  EXPECT_EQ(items[1].key, "a/b/c.WebP");
  EXPECT_EQ(items[2].key, "a/z.JPG");
  EXPECT_EQ(items[3].key, "b.png");
  EXPECT_THAT(items[2].images, ElementsAre(root_ / "a/z.JPG"));
  EXPECT_FALSE(items[0].prompt);
}

TEST_F(InputsTest, LinkedFoldersCountButNotTheWayBack) {
  write("one/a.png");
  write("two/b.png");
  fs::create_directory_symlink(root_ / "two", root_ / "one/linked");
  fs::create_directory_symlink(root_ / "one", root_ / "two/back");
  EXPECT_THAT(keys({root_ / "one"}), ElementsAre("a.png", "linked/b.png"));
}

TEST_F(InputsTest, FilesAreTakenAsGivenAndSeveralInputsInTheirOrder) {
  write("f/2.png");
  write("f/1.png");
  write("odd.bin");
  write("m.jsonl", "{\"image\": \"p.png\"}\n{\"image\": \"q.png\"}\n");
  EXPECT_THAT(keys({root_ / "odd.bin", root_ / "m.jsonl", root_ / "f", root_ / "m.jsonl", root_ / "f/2.png"}),
              ElementsAre((root_ / "odd.bin").string(), "p.png", "q.png", "1.png", "2.png", "p.png", "q.png",
                          (root_ / "f/2.png").string()));
}

TEST_F(InputsTest, ManifestLines) {
  write("m/list.jsonl",
        "{\"image\": \"a/b.png\", \"prompt\": \"detect cat\", \"id\": \"cat-1\", \"licence\": 4}\r\n"
        "\n"
        "{\"image\": \"/abs/c.png\", \"id\": 17}\n"
        "{\"image\": [\"d.png\", \"e.png\"], \"prompt\": null}");
  const auto items = all(Inputs({root_ / "m/list.jsonl"}));
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[0].key, "cat-1");
  EXPECT_EQ(items[0].prompt, "detect cat");
  EXPECT_THAT(items[0].images, ElementsAre(root_ / "m/a/b.png"));
  EXPECT_EQ(items[1].key, "17");
  EXPECT_THAT(items[1].images, ElementsAre("/abs/c.png"));
  EXPECT_EQ(items[2].key, "d.png");
  EXPECT_THAT(items[2].images, ElementsAre(root_ / "m/d.png", root_ / "m/e.png"));
  EXPECT_FALSE(items[2].prompt);
}

TEST_F(InputsTest, BadManifestLinesAreNamed) {
  const auto said = [&](const std::string& second) {
    return refusal({write("m.jsonl", "{\"image\": \"a.png\"}\n" + second + "\n")});
  };
  EXPECT_EQ(said("{\"image\": \"b.png\"}"), "");
  for (const char* bad :
       {"{\"image\": ", "[1]", "{\"prompt\": \"x\"}", "{\"image\": 5}", "{\"image\": []}",
        "{\"image\": \"a\", \"prompt\": 3}", "{\"image\": \"a\", \"id\": {}}", "{\"image\": null}"})
    EXPECT_THAT(said(bad), AllOf(HasSubstr("m.jsonl"), HasSubstr("line 2"))) << bad;
}

TEST_F(InputsTest, NothingToDoIsAMistake) {
  write("empty/readme.txt");
  EXPECT_THAT(refusal({}), HasSubstr("no input"));
  EXPECT_THAT(refusal({root_ / "nowhere"}), AllOf(HasSubstr("nowhere"), HasSubstr("no such file")));
  EXPECT_THAT(refusal({root_ / "empty"}), AllOf(HasSubstr("empty"), HasSubstr("without images")));
  EXPECT_THAT(refusal({write("none.jsonl", "\n\n")}),
              AllOf(HasSubstr("none.jsonl"), HasSubstr("without lines")));
}

}  // namespace
}  // namespace lapidary
