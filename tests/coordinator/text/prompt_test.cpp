#include "coordinator/text/prompt.h"

#include <gtest/gtest.h>

#include <functional>

#include "configs/error.h"
#include "tests/coordinator/text/tokenizer_files.h"

namespace lapidary {
namespace {

using namespace testing_support;

constexpr int64_t kImageId = 592;  // in small.json

Tokenizer small() { return Tokenizer::from_file(golden("small.json")); }

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Prompt, AsTheProcessorOfTransformersMakesIt) {
  const Tokenizer tokenizer = small();
  size_t compared = 0;
  for (const std::string& line : lines_of(golden("prompts.jsonl"))) {
    const boost::json::value value = parse_json(line, "prompts.jsonl");
    const JsonObject entry(value, "prompts.jsonl");
    std::vector<int32_t> expected;
    for (const int64_t id : entry.ints("ids")) expected.push_back(static_cast<int32_t>(id));
    EXPECT_EQ(
        prefix_ids(tokenizer, kImageId, entry.required_int("images"), 4, entry.required_string("prompt")),
        expected)
        << line;
    ++compared;
  }
  EXPECT_GE(compared, 19u);
}

TEST(Prompt, IdsAreThoseOfTheWholeText) {
  const Tokenizer tokenizer = small();
  size_t index = 0;
  for (const std::string& line : lines_of(golden("strings.jsonl"))) {
    const std::string prompt = json_string(line);
    if (prompt.find("<image>") != std::string::npos) continue;
    const auto images = static_cast<int64_t>(index++ % 4);
    ASSERT_EQ(prefix_ids(tokenizer, kImageId, images, 3, prompt),
              tokenizer.encode(prompt_text(images, 3, prompt)))
        << prompt;
  }
}

TEST(Prompt, Text) {
  EXPECT_EQ(prompt_text(1, 2, "caption en"), "<image><image><bos>caption en\n");
  EXPECT_EQ(prompt_text(2, 2, ""), "<image><image><image><image><bos>\n");
  EXPECT_EQ(prompt_text(0, 2, "hi"), "<bos>hi\n");
  EXPECT_EQ(prompt_text(2, 2, "<image> or<image>?"), "<image><image> or<image><image><bos>?\n");
}

TEST(Prompt, PlacesForImagesMustBeAsManyAsImages) {
  EXPECT_EQ(error_of([] { prompt_text(1, 2, "<image><image>"); }),
            "the prompt places 2 images by <image>, but 1 is given");
  EXPECT_EQ(error_of([] { prompt_text(3, 2, "a<image>"); }),
            "the prompt places 1 images by <image>, but 3 are given");
}

TEST(Prompt, TokenizerAndModelMustAgree) {
  const Tokenizer tokenizer = small();
  EXPECT_EQ(error_of([&] { prefix_ids(tokenizer, 257152, 1, 4, "x"); }),
            "<image> has the id 592 in tokenizer.json, but 257152 in config.json");
  EXPECT_NE(
      error_of([&] { prefix_ids(tokenizer, kImageId, 1, 4, "x\xff"); }).find("the prompt is not valid UTF-8"),
      std::string::npos);
  const Tokenizer without = Tokenizer::from_file(golden("plain.json"));
  EXPECT_EQ(error_of([&] { prefix_ids(without, *without.id_of("<image>"), 0, 4, "x"); }),
            "tokenizer.json: <bos> is no added token");
}

TEST(Prompt, TokensBeyondTheModelAreRefused) {
  const Tokenizer tokenizer = small();
  ModelConfig config;
  config.image_token_id = kImageId;  // an image's rows are not the table's
  config.vision.image_size = config.vision.patch_size;
  const auto ids = tokenizer.encode("<bos>ab\n");
  config.text.vocab_size = *std::max_element(ids.begin(), ids.end()) + 1;
  EXPECT_EQ(prefix_ids(tokenizer, config, 1, "ab").front(), kImageId);
  --config.text.vocab_size;
  EXPECT_NE(error_of([&] {
              prefix_ids(tokenizer, config, 1, "ab");
            }).find(cat(", but the model's vocabulary has ", config.text.vocab_size, " rows")),
            std::string::npos);
}

/// The empty prompt at 224 pixels.
TEST(Prompt, WhatNoSequenceHoldsIsFoundByItsLength) {
  const Tokenizer tokenizer = small();
  const size_t longest = tokenizer.longest_piece();
  ASSERT_GT(longest, 6u);
  for (int32_t id = 0; id < tokenizer.size(); ++id)
    EXPECT_TRUE(!tokenizer.holds(id) || tokenizer.token(id).size() <= longest) << id;
  const std::string fits(10 * longest, 'x');
  EXPECT_EQ(error_of([&] { require_short_prompt(fits, 10, longest); }), "no error");
  EXPECT_EQ(
      error_of([&] { require_short_prompt(fits + "x", 10, longest); }),
      cat("the prompt has ", fits.size() + 1,
          " bytes, but the 10 tokens that a sequence may have (--max-model-len) hold at most ", fits.size()));
}

TEST(Prompt, GemmaAt224) {
  const auto tokenizer = load_gemma();
  if (!tokenizer) GTEST_SKIP() << "Gemma's tokenizer is not beside the checkout (../shared/data/gemma)";
  std::vector<int32_t> expected(256, 257152);
  expected.insert(expected.end(), {2, 108});
  EXPECT_EQ(prefix_ids(*tokenizer, 257152, 1, 256, ""), expected);
}

}  // namespace
}  // namespace lapidary
