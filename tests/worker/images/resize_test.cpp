#include "worker/images/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "configs/error.h"
#include "worker/images/resize_passes.h"

namespace lapidary {
namespace {

Image noise(int width, int height, uint32_t seed) {
  Image image = make_image(width, height);
  std::mt19937 random(seed);
  for (uint8_t& value : image.rgb) value = static_cast<uint8_t>(random());
  return image;
}

TEST(Resize, TheFastPassesGiveThePortableBits) {
  std::mt19937 random(7);
  const auto side = [&](int most) { return 1 + static_cast<int>(random() % static_cast<uint32_t>(most)); };
  for (uint32_t round = 0; round < 150; ++round) {
    const int most = round % 3 == 0 ? 12 : 300;
    const Image image = noise(side(most), side(most), round);
    const int width = side(most), height = side(most);
    for (const ImageProcessor like : {ImageProcessor::pillow, ImageProcessor::torchvision})
      ASSERT_EQ(resize_bicubic(image, width, height, like).rgb,
                resize_bicubic_portable(image, width, height, like).rgb)
          << image.width << " x " << image.height << " to " << width << " x " << height;
  }
}

TEST(Resize, ExtremesOvershootWithoutWrapping) {
  Image image = make_image(64, 64);
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 64; ++x) std::fill_n(image.row(y) + 3 * x, 3, (x / 5 + y / 3) % 2 ? 255 : 0);
  for (int side : {30, 63, 65, 200})
    for (const ImageProcessor like : {ImageProcessor::pillow, ImageProcessor::torchvision})
      EXPECT_EQ(resize_bicubic(image, side, side, like).rgb,
                resize_bicubic_portable(image, side, side, like).rgb)
          << side;
}

TEST(Resize, TheSameSizeIsTheSamePicture) {
  const Image image = noise(17, 9, 1);
  EXPECT_EQ(resize_bicubic(image, 17, 9).rgb, image.rgb);
}

TEST(Resize, OneColourStaysOneColour) {
  Image image = make_image(50, 31);
  std::fill(image.rgb.begin(), image.rgb.end(), uint8_t{201});
  for (int side : {1, 7, 31, 64, 333}) {
    const Image resized = resize_bicubic(image, side, side);
    EXPECT_TRUE(std::all_of(resized.rgb.begin(), resized.rgb.end(), [](uint8_t v) { return v == 201; }))
        << side;
  }
}

TEST(Resize, WeightsSumToOneAndStayInside) {
  for (int in : {1, 2, 5, 100, 1000, 100'000})
    for (int out : {1, 3, 224, 896}) {
      const ResizeWeights weights = bicubic_weights(in, out, ImageProcessor::pillow);
      ASSERT_EQ(weights.taps.size(), static_cast<size_t>(out));
      for (const Taps& taps : weights.taps) {
        ASSERT_GE(taps.first, 0);
        ASSERT_GE(taps.count, 1);
        ASSERT_LE(taps.first + taps.count, in);
        int64_t sum = 0;
        for (int i = 0; i < taps.count; ++i) sum += weights.values[taps.at + static_cast<size_t>(i)];
        // Every weight is rounded by at most half a unit.
        EXPECT_LE(std::abs(sum - (1 << kWeightBits)), (taps.count + 1) / 2) << in << " to " << out;
      }
    }
}

TEST(Resize, TallPicturesBeginWithTheirColumns) {
  // The order shows in rounding alone: each is what its two one-way resizes give.
  const auto rows_first = [](const Image& image, int width, int height) {
    return resize_bicubic(resize_bicubic(image, width, image.height), width, height).rgb;
  };
  const auto columns_first = [](const Image& image, int width, int height) {
    return resize_bicubic(resize_bicubic(image, image.width, height), width, height).rgb;
  };
  const Image at_edge = noise(60, 90, 2), beyond = noise(60, 91, 3);  // to 50 x 70: 20 = 2 * 10, 21 > 2 * 10
  ASSERT_NE(rows_first(at_edge, 50, 70), columns_first(at_edge, 50, 70));
  ASSERT_NE(rows_first(beyond, 50, 70), columns_first(beyond, 50, 70));
  EXPECT_EQ(resize_bicubic(at_edge, 50, 70).rgb, rows_first(at_edge, 50, 70));
  EXPECT_EQ(resize_bicubic(beyond, 50, 70).rgb, columns_first(beyond, 50, 70));
  const Image grows = noise(30, 40, 4);
  EXPECT_EQ(resize_bicubic(grows, 90, 50).rgb, rows_first(grows, 90, 50));
}

TEST(Resize, RefusesEmptySizes) {
  EXPECT_THROW(resize_bicubic(noise(4, 4, 1), 0, 5), Error);
  EXPECT_THROW(resize_bicubic(noise(4, 4, 1), 5, -1), Error);
  EXPECT_THROW(resize_bicubic(Image{}, 5, 5), Error);
}

}  // namespace
}  // namespace lapidary
