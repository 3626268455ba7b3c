#include "worker/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/model/model_config.h"
#include "tests/support/error_text.h"
#include "tests/support/test_data.h"
#include "worker/model/group.h"

namespace lapidary {
namespace {

std::string engine_on(const std::string& device, int64_t max_num_seqs = 2) {
  EngineOptions options;
  options.model = test_data() / "tests/golden/models/like3b";
  options.device = device;
  options.max_num_seqs = max_num_seqs;
  const auto alone = make_solo();
  return Engine(options, read_model_config(options.model), one_stage(*alone)).describe();
}

// The other tests of this program say nothing of the GPU if they run on the CPU.
TEST(CudaEngine, RunsOnTheGpuUnlessToldOtherwise) {
  EXPECT_THAT(engine_on("auto"), testing::StartsWith("cuda "));
  EXPECT_THAT(engine_on("cuda"), testing::StartsWith("cuda "));
  EXPECT_THAT(engine_on("cpu"), testing::StartsWith("cpu "));
}

TEST(CudaEngine, RefusesWhatTheGpuHasNotInASentence) {
  EXPECT_THAT(error_of([] { engine_on("cuda:99"); }), testing::HasSubstr("this host has"));
  // Some terabytes of KV pages.
  EXPECT_THAT(error_of([] { engine_on("cuda", 50'000'000); }), testing::HasSubstr("--max-num-seqs"));
}

}  // namespace
}  // namespace lapidary
