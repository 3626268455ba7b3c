// The engine against transformers, tensor by named tensor, on small random checkpoints made by
// scripts/make_reference.py; and the engine against itself on other layouts, bit by bit.
#include <gtest/gtest.h>

#include "configs/model/image_steps.h"
#include "configs/model/model_config.h"
#include "kernels/cpu/isa/detect.h"
#include "kernels/cuda_options.h"
#include "tests/support/golden_engine.h"

namespace lapidary {
namespace {

class Golden : public ::testing::TestWithParam<GoldenRun> {};

void check_against_transformers(const GoldenRun& run, bool deterministic) {
  const Tensors golden = read_tensors(run.folder / run.file);
  for (const GoldenPrompt& prompt : run.prompts) {
    const auto prefix = golden.at(prompt.prefix + "prompt_ids").ints();
    const auto prefix_rows = static_cast<int64_t>(prefix.size());
    const Tensors traced = run_case(run, prompt, prefix, 1, 1, "auto", deterministic);
    int compared = 0;
    for (const auto& [name, expected] : golden) {
      if (name.rfind(prompt.prefix, 0) != 0) continue;
      std::string own = name.substr(prompt.prefix.size());
      if (own == "prompt_ids" || own == "pixel_values" || own == "token_ids") continue;
      ++compared;
      if (run.dtype == "float32") {
        ASSERT_TRUE(traced.contains(own)) << own;
        // The stated bound; float32 sums of a few hundred terms stay ten times below it.
        EXPECT_LT(traced.at(own).error_against(expected), 1e-4) << name;
      } else {
        // transformers rounds every activation to bfloat16, 2^-9 relative each; some ten roundings a layer
        // over ten layers add up like noise to 2^-9 * sqrt(100) = 2 %. Ours keeps the residual stream and all
        // sums in float32, so the distance is mostly theirs; twice that is allowed. Tokens may part later, so
        // only rows that do not depend on generated ones are compared.
        if (own.rfind("forced.", 0) == 0) own = own.substr(7);
        ASSERT_TRUE(traced.contains(own)) << own;
        const auto rows = own == "logits" ? 1 : std::min<int64_t>(expected.shape[0], prefix_rows);
        EXPECT_LT(traced.at(own).first_rows(rows).rms_error_against(expected.first_rows(rows)), 0.04) << name;
      }
    }
    EXPECT_GE(compared, run.dtype == "float32" ? 6 : 2);
    if (run.dtype == "float32") {
      EXPECT_EQ(traced.at("token_ids").ints(), golden.at(prompt.prefix + "token_ids").ints());
    }
  }
}

TEST_P(Golden, EveryNamedTensorAndTokenMatchesTransformers) { check_against_transformers(GetParam(), true); }

// On a GPU whose products of many rows are the library's; elsewhere it would be the same test again.
TEST_P(Golden, SoDoesWhatIsNotDeterministic) {
  if (cuda_devices().count == 0) GTEST_SKIP() << "no GPU: every backend here is deterministic";
  check_against_transformers(GetParam(), false);
}

TEST_P(Golden, PixelsMatchTheReferenceProcessor) {
  const GoldenRun& run = GetParam();
  const Tensors golden = read_tensors(run.folder / run.file);
  const ModelConfig config = read_model_config(run.folder);
  const auto value_of =
      value_table(image_steps(run.folder, config, run.profile, {.processor = ImageProcessor::pillow}));
  const auto pixels = static_cast<size_t>(config.vision.image_size * config.vision.image_size);
  for (const GoldenPrompt& prompt : run.prompts) {
    const auto found = golden.find(prompt.prefix + "pixel_values");
    if (found == golden.end()) continue;
    size_t at = 0;
    for (const auto& image : prompt.images) {
      const std::string rgb = resized_rgb(run.folder / image, config.vision.image_size);
      for (size_t c = 0; c < 3; ++c)
        for (size_t i = 0; i < pixels; ++i)
          ASSERT_EQ(found->second.values.at(at++), value_of[static_cast<uint8_t>(rgb[i * 3 + c])]);
    }
    EXPECT_EQ(at, found->second.values.size());
  }
}

TEST_P(Golden, EveryLayoutGivesTheSameBits) {
  const GoldenRun& run = GetParam();
  const Tensors golden = read_tensors(run.folder / run.file);
  const GoldenPrompt& prompt = run.prompts.back();
  const auto prefix = golden.at(prompt.prefix + "prompt_ids").ints();
  const Tensors solo = run_case(run, prompt, prefix, 1, 2);
  const ModelConfig config = read_model_config(run.folder);
  for (int ranks = 1; ranks <= std::min<int64_t>(8, config.text.heads); ++ranks) {
    const Tensors split = run_case(run, prompt, prefix, ranks);
    ASSERT_EQ(split.size(), solo.size());
    for (const auto& [name, tensor] : solo)
      EXPECT_EQ(tensor.values, split.at(name).values) << name << " on " << ranks << " ranks";
  }
}

TEST(GoldenInstructionSets, EachOneThatThisMachineRunsMatchesTransformers) {
  for (const GoldenRun& run : golden_runs()) {
    const std::string model = run.folder.filename().string();
    if (run.dtype != "float32" || (model != "like28b" && model != "odd" && model != "window")) continue;
    const Tensors golden = read_tensors(run.folder / run.file);
    for (const cpu::Isa* isa : cpu::available_isas()) {
      const Tensors traced = run_case(run, run.prompts[0], golden.at("prompt_ids").ints(), 2, 1, isa->name);
      for (const char* name : {"vision.output", "projector", "decoder.norm", "logits"})
        EXPECT_LT(traced.at(name).error_against(golden.at(name)), 1e-4)
            << name << " by " << isa->name;  // as above
      EXPECT_EQ(traced.at("token_ids").ints(), golden.at("token_ids").ints()) << isa->name;
    }
  }
}

/// Checkpoints of layers enough, of both dtypes.
bool is_for_float8(const GoldenRun& run) {
  const std::string model = run.folder.filename().string();
  return model == "like3b" || model == "odd";
}

TEST(GoldenFloat8, EveryNamedLogitIsAsNearAsFourBitsOfMantissaAllow) {
  for (const GoldenRun& run : golden_runs()) {
    if (!is_for_float8(run)) continue;
    const Tensors golden = read_tensors(run.folder / run.file);
    const GoldenPrompt& prompt = run.prompts[0];
    const auto prefix = golden.at(prompt.prefix + "prompt_ids").ints();
    const Tensors traced = run_case(run, prompt, prefix, 1, 1, "auto", true, Quantization::fp8);
    const GoldenTensor &logits = traced.at("logits"), &expected = golden.at(prompt.prefix + "logits");
    const double error = logits.first_rows(1).rms_error_against(expected.first_rows(1));
    // A number rounded to four bits is off by at most 2^-4 of itself, 2.6 % root mean square over a binade,
    // and so is a sum of such products. How far layers carry that depends on their weights: on the logits of
    // like3b it was seen as 6.9 %, on those of the small `odd`, whose random weights are larger, as 24.4 %.
    // The kernels of the GPU, which multiply e4m3 itself, and the CPU's, which multiply the same numbers as
    // floats, agreed on both to three digits: it is the rounding of the weights. A wrong scale or layout
    // gives 100 % or more.
    RecordProperty(run.name(), std::to_string(error));  // the README's figure
    EXPECT_LT(error, 0.3) << run.name();
    EXPECT_GT(error, 0.002) << run.name() << ": these are not e4m3 weights";
    // The vision tower and the projector stay as they are.
    const Tensors plain = run_case(run, prompt, prefix, 1);
    EXPECT_EQ(traced.at("projector").values, plain.at("projector").values);
  }
}

TEST(GoldenFloat8, EveryLayoutGivesTheSameBits) {
  for (const GoldenRun& run : golden_runs()) {
    if (!is_for_float8(run)) continue;
    const Tensors golden = read_tensors(run.folder / run.file);
    const GoldenPrompt& prompt = run.prompts[0];
    const auto prefix = golden.at(prompt.prefix + "prompt_ids").ints();
    const Tensors solo = run_case(run, prompt, prefix, 1, 2, "auto", true, Quantization::fp8);
    for (const int ranks : {2, 4}) {
      if (ranks > read_model_config(run.folder).text.heads) continue;
      const Tensors split = run_case(run, prompt, prefix, ranks, 1, "auto", true, Quantization::fp8);
      for (const auto& [name, tensor] : solo)
        EXPECT_EQ(tensor.values, split.at(name).values) << name << " on " << ranks << " ranks";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, ::testing::ValuesIn(golden_runs()),
                         [](const auto& run) { return run.param.name(); });

}  // namespace
}  // namespace lapidary
