#include "configs/model/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig model() {
  ModelConfig config;
  config.eos = {1};
  return config;
}

GenerationConfig parse(const std::string& text) {
  return parse_generation_config(text, "generation_config.json", model());
}

std::string error_with(const std::string& text) {
  return error_of([&] { parse(text); });
}

TEST(GenerationConfig, FollowsTheModelWithoutAFile) {
  TempFolder folder;
  for (const auto& path : {folder.path(), folder / "model.json"}) {
    const GenerationConfig config = read_generation_config(path, model());
    EXPECT_THAT(config.eos, ElementsAre(1));
    EXPECT_FALSE(config.do_sample);
    EXPECT_EQ(config.max_new_tokens, std::nullopt);
  }
}

TEST(GenerationConfig, ReadsItsFields) {
  TempFolder folder;
  folder.write("generation_config.json",
               R"({"_from_model_config": true, "bos_token_id": 2, "eos_token_id": [1, 107],
    "cache_implementation": "hybrid", "do_sample": true, "temperature": 0.7, "top_k": 40, "top_p": 0.9,
    "max_new_tokens": 99, "max_length": 20})");
  const GenerationConfig config = read_generation_config(folder.path(), model());
  EXPECT_THAT(config.eos, ElementsAre(1, 107));
  EXPECT_TRUE(config.do_sample);
  EXPECT_EQ(config.temperature, 0.7);
  EXPECT_EQ(config.top_k, 40);
  EXPECT_EQ(config.top_p, 0.9);
  EXPECT_EQ(config.max_new_tokens, 99);
}

TEST(GenerationConfig, TakesNullAndAbsentAsDefaults) {
  const GenerationConfig config = parse(R"({"eos_token_id": null, "temperature": null, "top_k": null})");
  EXPECT_THAT(config.eos, ElementsAre(1));
  EXPECT_EQ(config.temperature, 1);
  EXPECT_EQ(config.top_k, 50);
  EXPECT_EQ(config.top_p, 1);
  EXPECT_THAT(parse(R"({"eos_token_id": 7})").eos, ElementsAre(7));
  EXPECT_FALSE(parse(R"({"do_sample": true, "temperature": 0})").do_sample);
}

TEST(GenerationConfig, RefusesWhatCannotBeSampledWith) {
  const auto sampling = [](const std::string& field) {
    return error_with("{\"do_sample\": true, " + field + "}");
  };
  EXPECT_THAT(sampling(R"("temperature": -1)"), HasSubstr("generation_config.json: temperature is -1"));
  EXPECT_THAT(sampling(R"("temperature": 1e999)"), HasSubstr("generation_config.json: "));
  EXPECT_THAT(sampling(R"("temperature": NaN)"), HasSubstr("temperature is NaN"));
  EXPECT_THAT(sampling(R"("temperature": "0.5")"), HasSubstr("temperature is \"0.5\", not a number"));
  EXPECT_THAT(sampling(R"("top_p": 0)"), HasSubstr("top_p is 0"));
  EXPECT_THAT(sampling(R"("top_p": 1.5)"), HasSubstr("top_p is 1.5"));
  EXPECT_THAT(sampling(R"("top_k": -1)"), HasSubstr("top_k is -1"));
  EXPECT_THAT(error_with(R"({"max_new_tokens": 0})"), HasSubstr("max_new_tokens is 0"));
  EXPECT_THAT(error_with(R"({"eos_token_id": ["</s>"]})"), HasSubstr("eos_token_id[0]"));
  EXPECT_THAT(error_with(R"({"eos_token_id": "1"})"), HasSubstr("eos_token_id is \"1\", not a whole number"));
}

TEST(GenerationConfig, WhatNobodyUsesMayBeAnything) {
  const GenerationConfig config =
      parse(R"({"temperature": "0.5", "top_k": -3, "top_p": NaN, "typical_p": 0.2, "min_p": 0.1,
    "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "bad_words_ids": [], "suppress_tokens": null,
    "guidance_scale": null, "num_beam_groups": 1.0, "penalty_alpha": null, "early_stopping": true, "length_penalty": 2.0,
    "max_length": 20, "min_length": 0, "use_cache": true, "cache_implementation": "hybrid", "unknown": {"a": [NaN]},
    "transformers_version": 4.47})");
  EXPECT_FALSE(config.do_sample);
  EXPECT_EQ(config.temperature, 1);
  EXPECT_EQ(config.max_new_tokens, std::nullopt);
  EXPECT_THAT(
      parse(R"({"do_sample": true, "temperature": 0.1, "top_k": 1, "typical_p": 1.0, "min_p": null})").top_k,
      1);
  EXPECT_THAT(parse("\xef\xbb\xbf{\"eos_token_id\": 9}").eos, ElementsAre(9));
}

TEST(GenerationConfig, RefusesByNameWhatWouldGiveAnotherText) {
  EXPECT_EQ(error_with(R"({"num_beams": 4})"),
            "generation_config.json: num_beams is 4, which gives another text and is not supported yet: take "
            "it out of "
            "the file, or ignore the file with --generation-config none");
  for (const char* field :
       {R"("repetition_penalty": 1.3)", R"("no_repeat_ngram_size": 2)", R"("bad_words_ids": [[5]])",
        R"("suppress_tokens": [7])", R"("min_new_tokens": 3)", R"("forced_eos_token_id": 1)",
        R"("guidance_scale": 1.5)", R"("stop_strings": ["."])", R"("penalty_alpha": 0.6)",
        R"("sequence_bias": [[[4], 1.0]])", R"("repetition_penalty": "1.3")", R"("num_beams": NaN)",
        R"("do_sample": true, "min_p": 0.05)", R"("do_sample": true, "typical_p": 0.9)"}) {
    const std::string text = std::string("{") + field + "}";
    EXPECT_THAT(error_with(text), HasSubstr("is not supported yet")) << text;
  }
}

TEST(GenerationConfig, AMinimumThatThePrefixAlreadyHasIsNone) {
  const int64_t tokens = model().vision.tokens();
  EXPECT_EQ(error_with(cat("{\"min_length\": ", tokens + 1, "}")), "no error");
  EXPECT_THAT(error_with(cat("{\"min_length\": ", tokens + 2, "}")), HasSubstr("min_length is"));
}

TEST(GenerationConfig, ANegativeEndTokenIsNone) {
  EXPECT_THAT(parse(R"({"eos_token_id": -1})").eos, ElementsAre());
  EXPECT_THAT(parse(R"({"eos_token_id": [1, -1, 107.0]})").eos, ElementsAre(1, 107));
}

}  // namespace
}  // namespace lapidary
