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
  EXPECT_THAT(error_with(R"({"temperature": -1})"), HasSubstr("generation_config.json: temperature is -1"));
  EXPECT_THAT(error_with(R"({"temperature": 1e999})"), HasSubstr("generation_config.json: "));
  EXPECT_THAT(error_with(R"({"top_p": 0})"), HasSubstr("top_p is 0"));
  EXPECT_THAT(error_with(R"({"top_p": 1.5})"), HasSubstr("top_p is 1.5"));
  EXPECT_THAT(error_with(R"({"top_k": -1})"), HasSubstr("top_k is -1"));
  EXPECT_THAT(error_with(R"({"max_new_tokens": 0})"), HasSubstr("max_new_tokens is 0"));
  EXPECT_THAT(error_with(R"({"eos_token_id": ["</s>"]})"), HasSubstr("eos_token_id[0]"));
}

}  // namespace
}  // namespace lapidary
