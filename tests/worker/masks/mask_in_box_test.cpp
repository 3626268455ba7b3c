#include "worker/masks/mask_in_box.h"

#include <gtest/gtest.h>

#include "configs/error.h"

namespace lapidary {
namespace {

// What Pillow makes of masks is in tests/integration/mask_maker_test.cpp.

TEST(MaskInBox, TheSameSizeKeepsEachPixel) {
  DecodedMask mask;
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = i * 37 % 11 < 4 ? 0.3f : -0.3f;
  const MaskInBox in_box(mask, kMaskSide, kMaskSide);
  std::vector<uint8_t> column(kMaskSide);
  for (int x = 0; x < kMaskSide; ++x) {
    in_box.column(x, column);
    for (int y = 0; y < kMaskSide; ++y)
      ASSERT_EQ(column[static_cast<size_t>(y)] != 0, mask[static_cast<size_t>(y * kMaskSide + x)] > 0)
          << x << ", " << y;
  }
}

TEST(MaskInBox, AllAndNothingFillAnyBox) {
  for (const auto& [width, height] : {std::pair{1, 1}, {3, 500}, {500, 3}, {64, 1}, {1, 64}, {200, 200}})
    for (const float value : {-1e30f, -1.0f, -0.01f, 0.01f, 1.0f, 1e30f}) {
      DecodedMask mask;
      mask.fill(value);
      const MaskInBox in_box(mask, width, height);
      std::vector<uint8_t> column(static_cast<size_t>(height));
      for (int x = 0; x < width; ++x) {
        in_box.column(x, column);
        ASSERT_EQ(column, std::vector<uint8_t>(column.size(), value > 0))
            << width << " x " << height << " of " << value;
      }
    }
}

TEST(MaskInBox, BoxesWithoutPixelsAreRefused) {
  const DecodedMask mask{};
  EXPECT_THROW(MaskInBox(mask, 0, 5), Error);
  EXPECT_THROW(MaskInBox(mask, 5, -1), Error);
}

}  // namespace
}  // namespace lapidary
