#include "worker/engine/memory_plan.h"

#include <gtest/gtest.h>

#include "configs/error.h"
#include "worker/engine/engine.h"
#include "worker/engine/vision_tower.h"

namespace lapidary {
namespace {

const std::filesystem::path kSource = LAPIDARY_SOURCE_DIR;

TEST(MemoryPlan, SaysWhatAnEngineThenHolds) {
  const Mesh mesh{2, 2, 1, 1};
  for (const char* model : {"like3b", "odd", "batch"}) {
    EngineOptions options;
    options.model = kSource / "tests/golden/models" / model;
    options.threads = 1;
    options.isa =
        "portable";  // AMX pads leaves to 32 columns: the weights of models this small are then all padding
    const ModelConfig config = read_model_config(options.model);
    run_threads(mesh.world(), [&](Communicator& comm) {
      const MeshCoord coord = coord_of(mesh, comm.rank());
      const auto tp = comm.split(coord.stage);
      Engine engine(options, config, {comm, *tp, mesh, coord});
      const auto planned =
          plan_memory(engine.config(), PaliGemma::plan_for(engine.config(), coord.tp_rank, mesh.tp),
                      engine.share(), false, engine.capacity(), engine.types(), engine.backend());
      const auto held = engine.memory();
      EXPECT_EQ(planned.kv, held.kv);
      EXPECT_EQ(planned.embeddings, held.embeddings);
      // Packing pads panels to 16 rows and leaves to the kernels' step: much in models this small, little in
      // real ones.
      EXPECT_GE(held.weights, planned.weights) << model << " " << coord.rank;
      EXPECT_LE(held.weights, 2 * planned.weights) << model << " " << coord.rank;
      EXPECT_EQ(held.weights > 0, coord.decodes());
    });
  }
}

TEST(MemoryPlan, AVisionLaneHoldsAWholeTowerAndItsSlots) {
  for (const char* model : {"like3b", "odd"}) {
    EngineOptions options;
    options.model = kSource / "tests/golden/models" / model;
    options.threads = options.vision_threads = 1;
    options.isa = "portable";
    const ModelConfig config = read_model_config(options.model);
    VisionTower tower(options, config, false);
    const Mesh mesh{2, 1, 1, 1};
    const Capacity capacity = fit_capacity(options, config, mesh);
    const auto planned = plan_memory(config, PaliGemma::plan_for(config, 0, 2), StagePart{}, true, capacity,
                                     resolve_dtype(DTypeOption::automatic, config), tower.backend());
    EXPECT_EQ(planned.kv, 0u);
    EXPECT_GE(tower.weight_bytes(), planned.weights) << model;
    EXPECT_LE(tower.weight_bytes(), 2 * planned.weights) << model;
    const EncoderCache slots(tower.backend(), capacity.encoder_cache_slots(), tower.tokens(), tower.hidden());
    EXPECT_EQ(planned.embeddings, slots.bytes());
  }
}

TEST(MemoryPlan, SlotsHoldTwicePerLaneWhatItsShareOfTheSequencesNeeds) {
  EngineOptions options;
  options.max_num_seqs = 12;
  const ModelConfig config = read_model_config(kSource / "configs/models/paligemma2-3b-pt-224.json");
  EXPECT_EQ(fit_capacity(options, config).encoder_cache_slots(), 24);
  EXPECT_EQ(fit_capacity(options, config, {2, 1, 1, 0}).encoder_cache_slots(), 12);
  EXPECT_EQ(fit_capacity(options, config, {2, 2, 1, 0}).encoder_cache_slots(),
            12);  // the second stage encodes nothing
  EXPECT_EQ(fit_capacity(options, config, {2, 1, 1, 5}).encoder_cache_slots(), 5);
  // A prompt may fill a sequence with images, and they must all be somewhere.
  options.max_num_seqs = 1;
  options.max_model_len = 8000;
  EXPECT_EQ(fit_capacity(options, config, {2, 1, 1, 0}).encoder_cache_slots(), 16);
  EXPECT_EQ(fit_capacity(options, config).max_step_images(), 31);
}

TEST(MemoryPlan, TooLittleIsASentenceWithTheNumbers) {
  const Memory planned{54'000'000'000, 1'000'000'000, 500'000'000, 0};
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
  EXPECT_EQ(resolve_dtype(DTypeOption::automatic, config), DType::f32);
  EXPECT_EQ(resolve_dtype(DTypeOption::bfloat16, config), DType::bf16);
  config.torch_dtype = "float16";  // float32 holds each of its numbers, bfloat16 does not
  EXPECT_EQ(resolve_dtype(DTypeOption::automatic, config), DType::f32);
  for (const char* dtype : {"bfloat16", ""}) {
    config.torch_dtype = dtype;
    EXPECT_EQ(resolve_dtype(DTypeOption::automatic, config), DType::bf16);
  }
  EXPECT_THROW(enum_named<DTypeOption>("int8"), Error);
}

}  // namespace
}  // namespace lapidary
