#include "coordinator/text/decode_stream.h"

#include <gtest/gtest.h>

#include <random>

#include "coordinator/text/utf8.h"
#include "tests/coordinator/text/tokenizer_files.h"

namespace lapidary {
namespace {

using namespace testing_support;
using Ids = std::vector<int32_t>;

std::string streamed(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  DecodeStream stream(tokenizer, skip_special);
  std::string text;
  for (const int32_t id : ids) {
    const std::string part = stream.add(id);
    EXPECT_FALSE(invalid_utf8(part));
    text += part;
  }
  return text + stream.finish();
}

/// Random ids, each kind of token often enough to stand beside each other: bytes (runs of them are whole
/// characters now and then), special tokens, added ones, ids that no token has.
Ids random_ids(const Tokenizer& tokenizer, std::mt19937& random) {
  const auto below = [&](int64_t limit) {
    return static_cast<int32_t>(std::uniform_int_distribution<int64_t>(0, limit - 1)(random));
  };
  const auto byte_id = [&](unsigned char byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    return tokenizer.id_of(name).value_or(below(tokenizer.size()));
  };
  Ids ids;
  for (int32_t count = below(24); count > 0; --count) {
    switch (below(6)) {
      case 0:
        for (const unsigned char byte : std::string("\xF0\x9F\x90\x88")) ids.push_back(byte_id(byte));
        break;
      case 1:
        ids.push_back(byte_id(static_cast<unsigned char>(below(256))));
        break;
      case 2:
        ids.push_back(below(4));
        break;
      case 3:
        ids.push_back(tokenizer.size() + below(3));
        break;
      default:
        ids.push_back(below(tokenizer.size()));
    }
  }
  return ids;
}

void expect_as_whole(const Tokenizer& tokenizer) {
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    const Ids ids = random_ids(tokenizer, random);
    for (const bool skip : {false, true})
      ASSERT_EQ(streamed(tokenizer, ids, skip), tokenizer.decode(ids, skip)) << "round " << round;
  }
}

TEST(DecodeStream, GivesTheTextOfTheWholeForRandomTokens) {
  for (const char* name : {"small.json", "flags.json", "plain.json"}) {
    SCOPED_TRACE(name);
    expect_as_whole(Tokenizer::from_file(golden(name)));
  }
  expect_as_whole(
      Tokenizer::from_file(std::filesystem::path(LAPIDARY_SOURCE_DIR) / "configs/demo/model/tokenizer.json"));
}

TEST(DecodeStream, GivesTheTextOfTheWholeForGemmasTokens) {
  const auto gemma = load_gemma();
  if (!gemma) GTEST_SKIP() << "Gemma's tokenizer is not beside the checkout (../shared/data/gemma)";
  expect_as_whole(*gemma);
}

TEST(DecodeStream, GivesEachTokenAtOnceButRunsOfBytes) {
  const auto tokenizer =
      Tokenizer::from_file(std::filesystem::path(LAPIDARY_SOURCE_DIR) / "configs/demo/model/tokenizer.json");
  const auto id = [&](const char* token) { return tokenizer.id_of(token).value(); };
  DecodeStream stream(tokenizer, true);
  EXPECT_EQ(stream.add(id("<loc0012>")), "<loc0012>");
  EXPECT_EQ(stream.add(id("<bos>")), "");
  EXPECT_EQ(stream.add(id("<0xC3>")), "");
  EXPECT_EQ(stream.add(id("<image>")), "") << "a special token that is left out does not end a run";
  EXPECT_EQ(stream.add(id("<0xA9>")), "");
  EXPECT_EQ(stream.add(id("▁a")), "é a");
  EXPECT_EQ(stream.add(id("<0xC3>")), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(DecodeStream, ADecoderThatLooksAtTheWholeIsGivenTheWhole) {
  Decoder decoder{true, {Fuse{}, Strip{" ", 1, 0}}};
  EXPECT_FALSE(decoder.is_local());
  EXPECT_FALSE((Decoder{true, {Fuse{}, Replace{"ab", "c"}}}).is_local());
  EXPECT_FALSE(Decoder{}.is_local()) << "joined by spaces";
  EXPECT_TRUE((Decoder{true, {Replace{"_", " "}, ByteFallback{}, Fuse{}}}).is_local());
}

}  // namespace
}  // namespace lapidary
