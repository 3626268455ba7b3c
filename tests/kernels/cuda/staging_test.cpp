#include "kernels/cuda/runtime/staging.h"

#include <gtest/gtest.h>

#include <vector>

namespace lapidary::cuda {
namespace {

class StagingTest : public testing::Test {
 protected:
  ~StagingTest() override { destroy(stream); }
  const Stream stream = make_stream(false);
};

std::vector<int32_t> numbers(int32_t first, size_t count) {
  std::vector<int32_t> result(count);
  for (size_t i = 0; i < count; ++i) result[i] = first + static_cast<int32_t>(i);
  return result;
}

// Far more than the ring holds, with the stream never waited for by the caller: each array must be on the
// device when the work behind it is done, here a copy to a place of its own.
TEST_F(StagingTest, NothingIsOverwrittenBeforeItWasUsed) {
  Staging staging(stream, 1000);
  constexpr size_t kArrays = 300;
  const Buffer kept = allocate(kArrays * 1000);
  for (size_t i = 0; i < kArrays; ++i) {
    const std::vector<int32_t> array = numbers(static_cast<int32_t>(1000 * i), i * 7 % 250);
    const int32_t* uploaded = staging.upload(std::span<const int32_t>(array));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(uploaded) % 16, 0u);
    copy(stream, kept.get() + i * 1000, uploaded, array.size() * sizeof(int32_t));
  }
  std::vector<int32_t> seen(250);
  for (size_t i = 0; i < kArrays; ++i) {
    seen.resize(i * 7 % 250);
    copy(stream, seen.data(), kept.get() + i * 1000, seen.size() * sizeof(int32_t));
    synchronize(stream);
    EXPECT_EQ(seen, numbers(static_cast<int32_t>(1000 * i), seen.size())) << i;
  }
}

TEST_F(StagingTest, TheLastThreeArraysLiveTogether) {
  Staging staging(stream, 400);
  std::vector<const int32_t*> slots;
  for (int32_t i = 0; i < 8; ++i) {
    const std::vector<int32_t> array = numbers(100 * i, 100);
    slots.push_back(staging.upload(std::span<const int32_t>(array)));
  }
  for (size_t i = 5; i < 8; ++i) {
    std::vector<int32_t> seen(100);
    copy(stream, seen.data(), slots[i], 400);
    synchronize(stream);
    EXPECT_EQ(seen, numbers(static_cast<int32_t>(100 * i), 100));
  }
}

TEST_F(StagingTest, GrowsInReserveAlone) {
  Staging staging(stream, 400);
  const std::vector<int32_t> array = numbers(5, 101);
  EXPECT_THROW(staging.upload(std::span<const int32_t>(array)), std::logic_error);
  staging.reserve(404);
  const int32_t* uploaded = staging.upload(std::span<const int32_t>(array));
  std::vector<int32_t> seen(101);
  copy(stream, seen.data(), uploaded, 404);
  synchronize(stream);
  EXPECT_EQ(seen, array);
  const size_t held = staging.bytes();
  staging.reserve(100);
  EXPECT_EQ(staging.bytes(), held);
}

}  // namespace
}  // namespace lapidary::cuda
