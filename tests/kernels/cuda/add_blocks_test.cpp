#include "kernels/cuda/rows/add_blocks.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

namespace lapidary::cuda {
namespace {

TEST(AddBlocks, FollowsTheStackMachine) {
  // (a + b) + ((c + d) + e): in this order alone the small ones survive beside 2^24.
  const std::vector<float> values{1, 0x1p24f, 0.5f, 0.5f, 1};
  const std::vector<int> merges{0, 1, 0, 1, 2};
  const int64_t rows = 3, cols = 101, size = rows * cols;
  Buffer blocks = allocate_shared(static_cast<size_t>(5 * size) * sizeof(float));
  Buffer sum = allocate_shared(static_cast<size_t>(size) * sizeof(float));
  auto* block = reinterpret_cast<float*>(blocks.get());
  for (int64_t b = 0; b < 5; ++b)
    for (int64_t i = 0; i < size; ++i)
      block[b * size + i] = values[static_cast<size_t>(b)] * (i % 2 == 0 ? 1 : -1);
  add_blocks({}, view(sum.get(), DType::f32, rows, cols), view(blocks.get(), DType::f32, 5 * rows, cols),
             merges);
  synchronize({});
  const float want = (values[0] + values[1]) + ((values[2] + values[3]) + values[4]);
  const auto* y = reinterpret_cast<const float*>(sum.get());
  for (int64_t i = 0; i < size; ++i) ASSERT_EQ(y[i], i % 2 == 0 ? want : -want) << i;
}

TEST(AddBlocks, RefusesWhatIsNoTree) {
  Buffer memory = allocate(1024);
  const Tensor y = view(memory.get(), DType::f32, 1, 4), blocks = view(memory.get(), DType::f32, 2, 4);
  for (const std::vector<int>& merges : {std::vector<int>{0, 0}, {1, 0}, {0, 2}, {0}})
    EXPECT_THROW(add_blocks({}, y, blocks, merges), std::logic_error);
}

}  // namespace
}  // namespace lapidary::cuda
