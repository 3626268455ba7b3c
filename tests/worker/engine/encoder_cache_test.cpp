#include "worker/engine/encoder_cache.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace lapidary {
namespace {

TEST(EncoderCache, EachSlotHoldsWhatWasStoredInIt) {
  ThreadPool threads(1);
  const auto backend = make_cpu_backend(threads, "portable");
  EncoderCache slots(*backend, 3, 2, 4);
  EXPECT_EQ(slots.count(), 3);
  EXPECT_EQ(slots.bytes(), 3u * 2 * 4 * sizeof(float));
  std::vector<float> rows(8);
  for (int64_t slot = 0; slot < 3; ++slot) {
    for (size_t i = 0; i < 8; ++i) rows[i] = static_cast<float>(static_cast<size_t>(slot) * 100 + i);
    slots.store(slot, view(rows.data(), DType::f32, 2, 4));
  }
  slots.copy(0, 2);
  for (const auto& [slot, first] : {std::pair{0, 0.0f}, std::pair{1, 100.0f}, std::pair{2, 0.0f}})
    for (int64_t i = 0; i < 8; ++i)
      EXPECT_EQ(slots.at(slot).row<float>(i / 4)[i % 4], first + static_cast<float>(i)) << slot;
  EXPECT_THROW(slots.at(3), std::logic_error);
  EXPECT_THROW(slots.at(-1), std::logic_error);
}

}  // namespace
}  // namespace lapidary
