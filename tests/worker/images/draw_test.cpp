#include "worker/images/draw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "worker/images/draw_font.h"

namespace lapidary {
namespace {

Image grey(int width, int height) {
  Image image = make_image(width, height);
  std::fill(image.rgb.begin(), image.rgb.end(), uint8_t{128});
  return image;
}

std::array<int, 3> pixel(const Image& image, int x, int y) {
  const uint8_t* p = image.row(y) + 3 * x;
  return {p[0], p[1], p[2]};
}

constexpr std::array<int, 3> kGrey{128, 128, 128};

/// Pixels that are no longer grey.
int painted(const Image& image) {
  int count = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) count += pixel(image, x, y) != kGrey;
  return count;
}

TEST(Draw, AnOutlineOfTwoPixelsAndNothingElse) {
  Image image = grey(100, 80);
  const Box box{10, 20, 50, 60, ""};
  draw_boxes(image, {&box, 1});
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const bool in = x >= 10 && x < 50 && y >= 20 && y < 60;
      const bool hollow = x >= 12 && x < 48 && y >= 22 && y < 58;
      ASSERT_EQ(pixel(image, x, y) != kGrey, in && !hollow) << x << ", " << y;
    }
}

TEST(Draw, AMaskIsTintedAndNothingElse) {
  Image image = grey(10, 8);
  // Columns of 8: rows 3 to 5 of column 4, and all of column 5.
  const Box box{-20, -20, -10, -10, "", {4 * 8 + 3, 3, 2, 8, 4 * 8}};
  draw_boxes(image, {&box, 1});
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      ASSERT_EQ(pixel(image, x, y) != kGrey, x == 5 || (x == 4 && y >= 3 && y < 6)) << x << ", " << y;
  EXPECT_EQ(painted(image), 11);
  // Of another picture: not shown.
  for (const std::vector<uint32_t>& mask :
       {std::vector<uint32_t>{0, 79}, {0, 81}, {0, 4'000'000'000, 4'000'000'000}}) {
    Image other = grey(10, 8);
    const Box wrong{-20, -20, -10, -10, "", mask};
    draw_boxes(other, {&wrong, 1});
    EXPECT_EQ(painted(other), 0);
  }
}

TEST(Draw, BoxesInTurnHaveColoursOfTheirOwn) {
  Image image = grey(300, 100);
  std::vector<Box> boxes;
  for (int i = 0; i < 6; ++i) boxes.push_back({i * 50.0, 10, i * 50.0 + 40, 50, ""});
  draw_boxes(image, boxes);
  std::set<std::array<int, 3>> colours;
  for (int i = 0; i < 6; ++i) colours.insert(pixel(image, i * 50, 10));
  EXPECT_EQ(colours.size(), 6u);
}

TEST(Draw, CornersMayComeInAnyOrder) {
  Image one = grey(100, 80), other = grey(100, 80);
  const Box straight{10, 20, 50, 60, "a"}, swapped{50, 60, 10, 20, "a"};
  draw_boxes(one, {&straight, 1});
  draw_boxes(other, {&swapped, 1});
  EXPECT_EQ(one.rgb, other.rgb);
}

TEST(Draw, WhatLiesOutsideIsCutOff) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const Box& box :
       {Box{-50, -50, 500, 500, "all around"}, Box{-1e300, 5, 1e300, 6, "wide"},
        Box{90, 70, 200, 200, "a label that is much longer than the picture is wide, by far"}}) {
    Image image = grey(100, 80);
    draw_boxes(image, {&box, 1});
    EXPECT_GT(painted(image), 0);
  }
  for (const Box& box : {Box{std::nan(""), 0, 10, 10, "x"}, Box{0, 0, inf, 10, "x"}}) {
    Image image = grey(100, 80);
    draw_boxes(image, {&box, 1});
    EXPECT_EQ(painted(image), 0);
  }
  Image dot = grey(1, 1);
  const Box box{0, 0, 1, 1, "label"};
  draw_boxes(dot, {&box, 1});
  EXPECT_EQ(painted(dot), 1);
}

TEST(Draw, ALabelIsWhiteOnATagOfTheBoxsColour) {
  Image image = grey(200, 150);
  const Box box{40, 60, 120, 120, "cat"};
  draw_boxes(image, {&box, 1});
  const auto colour = pixel(image, 40, 119);
  EXPECT_EQ(pixel(image, 40, 59), colour);  // the tag stands on the box
  int white = 0;
  for (int y = 40; y < 60; ++y)
    for (int x = 40; x < 80; ++x) white += pixel(image, x, y) == std::array<int, 3>{255, 255, 255};
  int ink = 0;
  for (char c : std::string("cat"))
    for (int y = 0; y < kGlyphHeight; ++y)
      for (int x = 0; x < kGlyphWidth; ++x) ink += glyph_ink(c, x, y);
  EXPECT_EQ(white, ink);
}

TEST(Draw, EveryPrintableCharacterHasAGlyphOfItsOwn) {
  std::set<std::string> shapes;
  for (char c = ' '; c <= '~'; ++c) {
    std::string shape;
    for (int y = 0; y < kGlyphHeight; ++y)
      for (int x = 0; x < kGlyphWidth; ++x) shape += glyph_ink(c, x, y) ? '#' : '.';
    EXPECT_TRUE(shapes.insert(shape).second) << c;
    EXPECT_EQ(shape.find('#') == std::string::npos, c == ' ') << c;
  }
  EXPECT_TRUE(glyph_ink('\x7f', 0, 0));
  EXPECT_FALSE(glyph_ink('A', -1, 0));
  EXPECT_FALSE(glyph_ink('A', 0, kGlyphHeight));
}

TEST(Draw, ACaptionStandsBelowThePicture) {
  const Image image = grey(320, 200);
  const Image out = caption_strip(image, "a red circle");
  EXPECT_EQ(out.width, 320);
  ASSERT_GT(out.height, 200);
  EXPECT_TRUE(std::equal(image.rgb.begin(), image.rgb.end(), out.rgb.begin()));
  EXPECT_EQ(std::count_if(out.rgb.begin() + static_cast<int64_t>(image.rgb.size()), out.rgb.end(),
                          [](uint8_t v) { return v < 64; }) > 0,
            true);
  EXPECT_GT(caption_strip(image, std::string(600, 'a')).height, out.height);
  EXPECT_GT(caption_strip(image, "a\nb").height, out.height);
  EXPECT_EQ(caption_strip(image, "caf\xc3\xa9").height, out.height);
}

TEST(Draw, ANarrowPictureIsCentredOverItsCaption) {
  const Image out = caption_strip(grey(40, 30), "a red circle");
  EXPECT_EQ(out.width, 240);
  EXPECT_EQ(pixel(out, 99, 10), (std::array<int, 3>{255, 255, 255}));
  EXPECT_EQ(pixel(out, 100, 10), kGrey);
  EXPECT_EQ(pixel(out, 139, 29), kGrey);
  EXPECT_EQ(pixel(out, 140, 10), (std::array<int, 3>{255, 255, 255}));
}

}  // namespace
}  // namespace lapidary
