// The engine's steps as they run when nobody listens: decodes are recorded and done again, tokens stay on the
// device, and the host hears of them late.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/cuda_emulation/engine/steps.h"
#include "tests/support/golden.h"
#include "worker/images/image.h"
#include "worker/images/resize.h"

namespace lapidary {
namespace {

std::string resized_rgb(const std::filesystem::path& path, int64_t size) {
  const Image image = resize_bicubic(read_image(path), static_cast<int>(size), static_cast<int>(size));
  return {image.rgb.begin(), image.rgb.end()};
}

class ReplayGolden : public testing::TestWithParam<const char*> {};

TEST_P(ReplayGolden, TokensAreThoseOfTransformers) {
  const auto runs = golden_runs();
  const auto run = std::ranges::find_if(
      runs, [&](const GoldenRun& r) { return r.folder.filename() == GetParam() && r.dtype == "float32"; });
  ASSERT_NE(run, runs.end());
  const auto golden = read_tensors(run->folder / run->file);
  const GoldenPrompt& prompt = run->prompts.front();
  const auto prefix = golden.at(prompt.prefix + "prompt_ids").ints();
  const auto want = golden.at(prompt.prefix + "token_ids").ints();

  EngineOptions options = options_for(run->folder, "float32", 2);
  options.profile = run->profile;
  options.max_model_len = std::ssize(prefix) + run->max_new_tokens;
  const ModelConfig config = read_model_config(run->folder);
  const auto alone = make_solo();
  Engine engine(options, config, one_stage(*alone));
  wire::Step first;
  wire::Prefill& prefill = *first.add_prefills();
  const int64_t tokens = config.vision.tokens();
  for (size_t i = 0; i < prefix.size();
       i += prefix[i] == config.image_token_id ? static_cast<size_t>(tokens) : 1)
    prefill.add_ids(prefix[i]);
  for (int64_t p = 0; p * KvShape::kPageTokens < options.max_model_len; ++p)
    prefill.add_pages(static_cast<int32_t>(p));
  for (const auto& image : prompt.images)
    prefill.add_images()->set_rgb(resized_rgb(run->folder / image, config.vision.image_size));
  std::vector<int32_t> got{engine.run(first).tokens(0)};
  while (got.size() < want.size()) got.push_back(engine.run(decode({0})).tokens(0));
  EXPECT_EQ(got, want);
  EXPECT_EQ(engine.backend().replays(), std::ssize(want) - 3);  // one was plain, one recorded
}

INSTANTIATE_TEST_SUITE_P(Cases, ReplayGolden, testing::Values("like3b", "window"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST(Replay, SequencesThatJoinAndLeaveGetTheTokensOfPlainSteps) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    const EngineOptions options = company_options(dtype);
    const ModelConfig config = read_model_config(options.model);
    const auto alone = make_solo();
    Engine plain(options, config, one_stage(*alone)), recorded(options, config, one_stage(*alone));
    EXPECT_EQ(company(recorded), company(plain, true)) << dtype;
    EXPECT_EQ(plain.backend().replays(), 0);
    EXPECT_GT(recorded.backend().replays(), 5);
  }
}

}  // namespace
}  // namespace lapidary
