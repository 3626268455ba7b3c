#include "coordinator/dataset/brace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/error.h"

namespace lapidary {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(const std::string& pattern) {
  try {
    expand_braces(pattern);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Braces, RangesKeepTheirZeros) {
  EXPECT_THAT(expand_braces("s/{008..011}.tar"),
              ElementsAre("s/008.tar", "s/009.tar", "s/010.tar", "s/011.tar"));
  EXPECT_THAT(expand_braces("{8..11}"), ElementsAre("8", "9", "10", "11"));
  EXPECT_THAT(expand_braces("{1..002}"), ElementsAre("001", "002"));
  EXPECT_THAT(expand_braces("{3..1}x"), ElementsAre("3x", "2x", "1x"));
  EXPECT_THAT(expand_braces("{00..10..4}"), ElementsAre("00", "04", "08"));
  EXPECT_THAT(expand_braces("{10..0..5}"), ElementsAre("10", "5", "0"));
  EXPECT_THAT(expand_braces("{0..0}"), ElementsAre("0"));
}

TEST(Braces, ListsNestAndMultiplyLeftmostSlowest) {
  EXPECT_THAT(expand_braces("{train,val}/{0..1}.tar"),
              ElementsAre("train/0.tar", "train/1.tar", "val/0.tar", "val/1.tar"));
  EXPECT_THAT(expand_braces("{a,b{1..2},{c,d}e}"), ElementsAre("a", "b1", "b2", "ce", "de"));
  EXPECT_THAT(expand_braces("x{,y}"), ElementsAre("x", "xy"));
}

TEST(Braces, OthersStandForThemselves) {
  for (const char* text :
       {"", "plain.tar", "{}", "{one}", "{a..c}", "{1..}", "{-1..2}", "a}b{c", "{a,b", "{0..5..0}"})
    EXPECT_THAT(expand_braces(text), ElementsAre(text));
  EXPECT_THAT(expand_braces("{x{1..2}}"), ElementsAre("{x1}", "{x2}"));
  EXPECT_THAT(expand_braces("{a{b,c}"), ElementsAre("{ab", "{ac"));
}

TEST(Braces, AMillionIsTheMost) {
  EXPECT_EQ(expand_braces("{0..999999}").size(), 1'000'000u);
  EXPECT_EQ(expand_braces("{0..999}{0..999}").size(), 1'000'000u);
  for (const char* text : {"{0..1000000}", "{0..1000}{0..999}", "{a,{0..999999}}", "{0..999999999999999999}",
                           "{0..9}{0..9}{0..9}{0..9}{0..9}{0..9}{0..9}"})
    EXPECT_THAT(refusal(text), HasSubstr("more than 1000000 names")) << text;
  EXPECT_THAT(refusal(cat(std::string(100, '{'), "a,b", std::string(100, '}'), std::string(99, ','))), "");
  std::string deep = "x";
  for (int i = 0; i < 30; ++i) deep = "{" + deep + ",y}";
  EXPECT_THAT(refusal(deep), HasSubstr("nested more than"));
}

}  // namespace
}  // namespace lapidary
