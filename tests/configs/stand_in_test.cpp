#include "configs/stand_in.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/json.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::string error_with(const std::string& bytes) {
  return error_of([&] { refuse_stand_in(bytes, "m/config.json"); });
}

TEST(StandIn, IsNamedWithWhatToDo) {
  EXPECT_EQ(error_with("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 6064484832\n"),
            "m/config.json: is a git-lfs pointer to a file of 6064484832 bytes, not that file: run "
            "`git lfs pull` in m");
  EXPECT_THAT(error_with("version https://git-lfs.github.com/spec/v1"),
              HasSubstr("a git-lfs pointer to the file"));
  EXPECT_THAT(error_with("\n<!DOCTYPE html><html>"),
              EndsWith("is a web page (HTML or XML), not the file: download it again"));
  EXPECT_THAT(error_with(std::string("PK\x03\x04\0\0", 6)), HasSubstr("is a ZIP archive"));
  EXPECT_THAT(error_with("\x1f\x8b\x08"), HasSubstr("is compressed by gzip"));
}

TEST(StandIn, OtherFilesPass) {
  for (const char* bytes : {"", "{", "  {}", "[\"<\"]", "version 1", "P", "\x1f"})
    EXPECT_EQ(error_with(bytes), "no error");
}

TEST(StandIn, IsFoundWhereTextsAreRead) {
  TempFolder folder;
  folder.write("tokenizer.json", "version https://git-lfs.github.com/spec/v1\nsize 17\n");
  EXPECT_THAT(error_of([&] { read_json_file(folder / "tokenizer.json"); }),
              EndsWith("run `git lfs pull` in " + folder.path().string()));
}

}  // namespace
}  // namespace lapidary
