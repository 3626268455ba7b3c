#include "sharding/checkpoint/model_tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sharding/checkpoint/checkpoint.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

/// The tiny model, all of it, as a file; `change` may spoil the list first.
template <class Change>
std::string fit_error(const Change& change, std::vector<std::string>* remarks = nullptr) {
  TempFolder folder;
  ModelConfig config = tiny_model();
  std::vector<TensorSpec> specs = model_tensors(config);
  change(specs, config);
  const std::vector<float> zeros(100000);
  std::vector<NamedTensor> tensors;
  for (const TensorSpec& spec : specs)
    tensors.push_back({spec.name, StoredType::f32, spec.shape, zeros.data()});
  write_safetensors(folder / "model.safetensors", tensors);
  Checkpoint checkpoint(folder.path());
  return error_of([&] {
    fit_to_weights(config, checkpoint);
    for (const TensorSpec& spec : model_tensors(config)) checkpoint.ignore(spec.name);
    checkpoint.check_all_used();
    if (remarks) *remarks = checkpoint.remarks();
  });
}

TEST(FitToWeights, AcceptsTheModelAndItsVocabulary) {
  EXPECT_EQ(fit_error([](auto&, auto&) {}), "no error");
  EXPECT_EQ(fit_error([](auto&, ModelConfig& config) { config.text.vocab_size = 7; }), "no error");
}

TEST(FitToWeights, NamesWhatIsMissingWrongOrTooMuch) {
  EXPECT_THAT(fit_error([](auto& specs, auto&) { specs.pop_back(); }),
              HasSubstr("lacks 1 of the 63 tensors that its config calls for: language_model.norm.weight"));
  EXPECT_THAT(fit_error([](auto& specs, auto&) {
                specs.front().shape = {24, 588};
              }),
              HasSubstr("tensor vision_tower.embeddings.patch_embedding.weight has shape [24, 588], "
                        "but the config calls for [24, 3, 14, 14]"));
  EXPECT_THAT(fit_error([](auto&, ModelConfig& config) { config.text.head_dim = 8; }),
              HasSubstr("has shape [40, 32], but the config calls for [32, 32]"));
}

TEST(FitToWeights, LeavesOutWhatTheModelHasNoPlaceForAndSaysSo) {
  std::vector<std::string> remarks;
  const auto add_others = [](auto& specs, auto&) {
    for (const char* name : {"vision_tower.vision_model.head.probe",
                             "language_model.model.layers.0.self_attn.rotary_emb.inv_freq",
                             "vision_tower.vision_model.embeddings.position_ids", "score.weight"})
      specs.push_back({name, {1}, TensorKind::bias});
  };
  EXPECT_EQ(fit_error(add_others, &remarks), "no error");
  ASSERT_EQ(remarks.size(), 1u);
  EXPECT_THAT(
      remarks[0],
      HasSubstr(" holds 4 tensors that the model does not use, left out as transformers leaves them: "));
  EXPECT_THAT(remarks[0], HasSubstr("\"vision_tower.head.probe\""));
  EXPECT_THAT(remarks[0], HasSubstr("\"score.weight\""));
  EXPECT_THAT(fit_error([&](auto& specs, auto& config) {
                specs.pop_back();
                add_others(specs, config);
              }),
              HasSubstr("lacks 1 of the 63 tensors"));
}

TEST(FitToWeights, RefusesTheLayersOfADeeperModel) {
  for (const char* name :
       {"vision_tower.vision_model.encoder.layers.99.layer_norm1.bias", "model.language_model.layers.99.x"})
    EXPECT_THAT(
        fit_error([&](auto& specs, auto&) {
          specs.push_back({name, {1}, TensorKind::bias});
        }),
        HasSubstr(
            "holds 1 tensor of layers that the model does not use, since its config has num_hidden_layers"));
}

TEST(FitToWeights, RefusesDtypesThatWeightsAreNotReadFrom) {
  TempFolder folder;
  ModelConfig config = tiny_model();
  const std::vector<float> zeros(100000);
  std::vector<NamedTensor> tensors;
  for (const TensorSpec& spec : model_tensors(config))
    tensors.push_back({spec.name, StoredType::f32, spec.shape, zeros.data()});
  tensors.back().dtype = StoredType::i32;
  write_safetensors(folder / "model.safetensors", tensors);
  Checkpoint checkpoint(folder.path());
  EXPECT_THAT(error_of([&] { fit_to_weights(config, checkpoint); }),
              HasSubstr("\"language_model.norm.weight\" is stored as I32"));
}

TEST(FitToWeights, TakesAStoredHeadAsTheConfigTiesIt) {
  const auto add_head = [](auto& specs, auto&) {
    specs.push_back({"language_model.lm_head.weight", {50, 32}, TensorKind::matrix});
  };
  EXPECT_EQ(fit_error(add_head), "no error");
  EXPECT_EQ(fit_error([&](auto& specs, ModelConfig& config) {
              add_head(specs, config);
              config.text.tie_word_embeddings = false;
            }),
            "no error");
  EXPECT_THAT(fit_error([&](auto& specs, auto& config) {
                add_head(specs, config);
                specs.back().shape = {51, 32};
              }),
              HasSubstr("tensor lm_head.weight has shape [51, 32], but the config calls for [50, 32]"));
}

TEST(FitToWeights, TiesAHeadThatIsNotStoredByTheOuterWord) {
  EXPECT_EQ(fit_error([](auto&, ModelConfig& config) { config.text.tie_word_embeddings = false; }),
            "no error");
  EXPECT_THAT(fit_error([](auto&, ModelConfig& config) {
                config.text.tie_word_embeddings = config.text.ties_missing_head = false;
              }),
              HasSubstr("lacks 1 of the 64 tensors that its config calls for: lm_head.weight"));
}

}  // namespace
}  // namespace lapidary
