#include <gtest/gtest.h>

#include "tests/cuda_emulation/engine/steps.h"
#include "tests/cuda_emulation/stream.h"

namespace lapidary {
namespace {

TEST(EmulatedEngine, StepsStartedAheadWaitForNothing) {
  const EngineOptions options = company_options("bfloat16");
  const ModelConfig config = read_model_config(options.model);
  const auto alone = make_solo();
  Engine late(options, config, one_stage(*alone)), prompt(options, config, one_stage(*alone));
  wire::Step first;
  add_prefill(first, 0, 1);
  add_prefill(first, 3, 3);
  std::vector<std::vector<int32_t>> want, got;
  const auto add = [](auto& list, const wire::StepDone& done) {
    list.emplace_back(done.tokens().begin(), done.tokens().end());
  };
  for (int i = 0; i < 9; ++i) add(want, prompt.run(i == 0 ? first : decode({3, 0})));
  for (int i = 0; i < 5; ++i) add(got, late.run(i == 0 ? first : decode({3, 0})));
  const int64_t waits = emulation::host_waits();
  for (uint64_t number = 6; number <= 9; ++number) {
    wire::Step step = decode({3, 0});
    step.set_number(number);
    late.start(step);
  }
  EXPECT_EQ(emulation::host_waits(), waits);
  EXPECT_EQ(late.started(), 4u);
  for (uint64_t number = 6; number <= 9; ++number) {
    const auto done = late.finish();
    EXPECT_EQ(done.number(), number);
    add(got, done);
  }
  EXPECT_EQ(got, want);
}

}  // namespace
}  // namespace lapidary
