#include "worker/model/stage_part.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "configs/error.h"
#include "sharding/checkpoint/model_tensors.h"
#include "tests/support/error_text.h"
#include "tests/support/tiny_model.h"
#include "worker/model/paligemma.h"

namespace lapidary {
namespace {

TEST(StagePart, StagesCoverTheLayersAndTheLastOnesAreFewerForTheHead) {
  const std::filesystem::path models = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "configs/models";
  const auto runs = [&](const char* name, int pp) {
    const ModelConfig config = read_model_config(models / name);
    std::vector<int64_t> sizes;
    int64_t at = 0;
    for (int stage = 0; stage < pp; ++stage) {
      const StagePart share = stage_part_of(config, {1, pp, 1, 0}, {0, stage, stage, 0});
      EXPECT_EQ(share.layers.begin, at);
      at = share.layers.end;
      sizes.push_back(share.layers.size());
      EXPECT_EQ(share.embedding, stage == 0);
      EXPECT_EQ(share.head, stage == pp - 1);
    }
    EXPECT_EQ(at, config.text.layers);
    return sizes;
  };
  EXPECT_EQ(runs("paligemma2-3b-pt-224.json", 1), (std::vector<int64_t>{26}));
  EXPECT_EQ(runs("paligemma2-3b-pt-224.json", 2), (std::vector<int64_t>{15, 11}));
  EXPECT_EQ(runs("paligemma2-10b-pt-448.json", 2), (std::vector<int64_t>{22, 20}));
  EXPECT_EQ(runs("paligemma2-28b-pt-896.json", 2), (std::vector<int64_t>{24, 22}));
}

TEST(StagePart, GivenLayersMustFitMeshAndModel) {
  const ModelConfig config = tiny_model();  // 2 layers
  const auto error = [&](std::vector<int64_t> layers) {
    return error_of([&] { stage_part_of(config, {1, 2, 1, 0}, {0, 1, 1, 0}, layers); });
  };
  EXPECT_EQ(error({1, 1}), "no error");
  EXPECT_EQ(error({2}), "--pp-layers gives 1 number, but --pp is 2");
  EXPECT_EQ(error({1, 2}), "--pp-layers adds up to 3 layers, but the model has 2");
  EXPECT_EQ(error({2, 0}), "--pp-layers gives a stage 0 layers, each needs at least 1");
  const StagePart rank = stage_part_of(config, {1, 2, 1, 1}, {0, 2, -1, 0}, std::vector<int64_t>{1, 1});
  EXPECT_EQ(rank.layers.size(), 0);
}

/// A model's weights, all zero, and tensors that do not belong to it.
class Weights final : public TensorSource {
 public:
  Weights(const ModelConfig& config, const std::vector<std::string>& strays) : TensorSource("the test") {
    for (const TensorSpec& spec : model_tensors(config)) add(spec.name, spec.shape);
    for (const std::string& name : strays) add(name, {2});
  }

 private:
  void fetch(size_t, Range rows, Range cols, float* out) override {
    std::fill_n(out, rows.size() * cols.size(), 0.0f);
  }
  void fetch(size_t, Range rows, Range cols, uint16_t* out) override {
    std::fill_n(out, rows.size() * cols.size(), uint16_t{0});
  }
};

/// What the stage of two says of weights with a stray tensor.
std::string load_stage(ModelConfig config, int stage, const std::string& stray, bool tied = true) {
  config.text.tie_word_embeddings = tied;
  ThreadPool threads(1);
  const auto backend = make_cpu_backend(threads);
  const auto solo = make_solo_rows();
  Weights source(config, stray.empty() ? std::vector<std::string>{} : std::vector{stray});
  Capacity capacity;
  capacity.set_max_num_seqs(1);
  capacity.set_max_num_batched_tokens(64);
  capacity.set_max_model_len(64);
  capacity.set_num_kv_pages(1);
  capacity.set_max_encode_images(1);
  return error_of([&] {
    WeightStore weights(source, *backend, DType::f32);
    PaliGemma(config, numerics_profile("hf"), weights, {*backend, *solo}, capacity,
              stage_part_of(config, {1, 2, 1, 0}, {0, stage, stage, 0}, {}, true));
  });
}

TEST(StagePart, WhatOtherStagesHoldIsNotMissedAndAStrayTensorIsFoundWhereItsPartIs) {
  const ModelConfig config = tiny_model();
  for (bool tied : {true, false})
    for (int stage : {0, 1}) EXPECT_EQ(load_stage(config, stage, "", tied), "no error") << tied << stage;
  for (const auto& [stray, stage] : {std::pair{"language_model.layers.0.stray", 0},
                                     {"language_model.layers.1.stray", 1},
                                     {"vision_tower.stray", 0},
                                     {"language_model.norm.bias", 1}}) {
    EXPECT_NE(load_stage(config, stage, stray).find(stray), std::string::npos) << stray;
    EXPECT_EQ(load_stage(config, 1 - stage, stray), "no error") << stray;
  }
  for (int stage : {0, 1})
    for (const char* stray : {"language_model.layers.2.stray", "something.else"})
      EXPECT_NE(load_stage(config, stage, stray).find(stray), std::string::npos) << stray;
}

}  // namespace
}  // namespace lapidary
