#include "worker/memory_plan.h"

#include <gtest/gtest.h>

#include "configs/error.h"
#include "worker/engine.h"

namespace lapidary {
namespace {

const std::filesystem::path kSource = LAPIDARY_SOURCE_DIR;

TEST(MemoryPlan, SaysWhatAnEngineThenHolds) {
  for (const char* model : {"like3b", "odd", "batch"}) {
    EngineOptions options;
    options.model = kSource / "tests/golden/models" / model;
    options.threads = 1;
    const ModelConfig config = read_model_config(options.model);
    run_threads(2, [&](Communicator& comm) {
      Engine engine(options, config, comm);
      const auto planned = plan_memory(engine.model().config(), engine.model().plan(),
                                       engine.model().capacity(), engine.dtype(), engine.backend());
      const auto held = engine.memory();
      EXPECT_EQ(planned.kv, held.kv);
      EXPECT_EQ(planned.embeddings, held.embeddings);
      // Packing pads panels to 16 rows and leaves to the kernels' step: much in models this small, little in
      // real ones.
      EXPECT_GE(held.weights, planned.weights) << model;
      EXPECT_LE(held.weights, 2 * planned.weights) << model;
    });
  }
}

TEST(MemoryPlan, TooLittleIsASentenceWithTheNumbers) {
  const PaliGemma::Memory planned{54'000'000'000, 1'000'000'000, 500'000'000, 0};
  EXPECT_NO_THROW(check_memory(planned, 1, 55.6e9));
  try {
    check_memory(planned, 2, 64e9);
    FAIL();
  } catch (const Error& e) {
    const std::string text = e.what();
    for (const char* part :
         {"2 ranks", "111.0 GB", "weights 54.0 GB", "KV pages 1.0 GB", "64.0 GB available", "--tp"})
      EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  }
}

TEST(MemoryPlan, DtypeIsTheUsersWordElseTheConfigs) {
  ModelConfig config;
  config.torch_dtype = "float32";
  EXPECT_EQ(resolve_dtype("auto", config), DType::f32);
  EXPECT_EQ(resolve_dtype("bfloat16", config), DType::bf16);
  config.torch_dtype = "";
  EXPECT_EQ(resolve_dtype("auto", config), DType::bf16);
  EXPECT_THROW(resolve_dtype("int8", config), Error);
}

}  // namespace
}  // namespace lapidary
