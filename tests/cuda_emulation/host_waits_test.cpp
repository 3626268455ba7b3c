#include <gtest/gtest.h>

#include "tests/cuda_emulation/stream.h"
#include "tests/kernels/cuda/toy_decoder.h"

namespace lapidary {
namespace {

TEST(Replay, StepsBehindEachOtherNeedNothingOfTheHost) {
  const DeviceChoice& choice = tested_devices().front();
  Toy plain(choice, false), recorded(choice, true);
  const std::vector<int32_t> slots{1, 3, 4};
  for (int i = 0; i < 2; ++i) recorded.step(slots, 4);
  recorded.ops.synchronize();
  const int64_t waits = emulation::host_waits();
  for (int i = 0; i < 6; ++i) recorded.step(slots, 4);
  EXPECT_EQ(emulation::host_waits(), waits);
  EXPECT_EQ(recorded.ops.replays(), 6);
  for (int i = 0; i < 8; ++i) plain.step(slots, 3);
  EXPECT_EQ(recorded.token_table(), plain.token_table());
}

}  // namespace
}  // namespace lapidary
