#include "worker/images/prepare.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <bit>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "configs/error.h"
#include "worker/images/orientation.h"
#include "worker/images/resize.h"

namespace lapidary {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden";
constexpr int kSides[] = {70, 224, 448, 896};

std::string hash_of(const void* data, size_t bytes) {
  const auto* first = static_cast<const uint8_t*>(data);
  char text[17];
  std::snprintf(text, sizeof(text), "%08lx%08lx", crc32(0, first, static_cast<uInt>(bytes)),
                adler32(1, first, static_cast<uInt>(bytes)));
  return text;
}
std::string hash_of(const std::vector<uint8_t>& bytes) { return hash_of(bytes.data(), bytes.size()); }

std::vector<uint8_t> bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The lines of expected.txt that begin with this word, without it (scripts/make_processor_golden.py).
std::vector<std::istringstream> expected(const std::string& word) {
  std::ifstream in(kFolder / "processor/expected.txt");
  std::vector<std::istringstream> lines;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(word + " ")) lines.emplace_back(line.substr(word.size() + 1));
  return lines;
}

/// As the script makes it.
Image made(const std::string& kind, uint32_t seed, int width, int height) {
  Image image = make_image(width, height);
  if (kind == "stripes") {
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (int c = 0; c < 3; ++c)
          image.row(y)[3 * x + c] = (x + c * y) / static_cast<int>(seed) % 2 ? 255 : 0;
    return image;
  }
  for (uint8_t& byte : image.rgb) {
    seed = seed * 1664525u + 1013904223u;
    byte = kind == "noise" ? static_cast<uint8_t>(seed >> 24) : seed >> 31 ? 255 : 0;
  }
  return image;
}

TEST(Prepare, FilesBecomeWhatTransformersMakesOfThem) {
  int pictures = 0;
  for (std::istringstream& line : expected("file")) {
    std::string name, hash;
    line >> name;
    const std::vector<uint8_t> file = bytes_of(kFolder / name);
    ++pictures;
    for (int side : kSides)
      for (const Alpha alpha : {Alpha::white, Alpha::drop})
        for (const ImageProcessor processor : {ImageProcessor::torchvision, ImageProcessor::pillow}) {
          ImageSteps steps;
          steps.side = side;
          steps.processor = processor;
          steps.alpha = alpha;
          ASSERT_TRUE(line >> hash) << name;
          EXPECT_EQ(hash_of(prepare_image(file, steps).rgb), hash)
              << name << " to " << side << " by " << enum_name(processor) << ", alpha " << enum_name(alpha);
        }
  }
  EXPECT_GE(pictures, 100);
}

TEST(Prepare, NoiseEdgesAndStripesOfAnySizeToo) {
  int pictures = 0;
  for (std::istringstream& line : expected("made")) {
    std::string kind, hash;
    uint32_t seed;
    int width, height;
    ASSERT_TRUE(line >> kind >> seed >> width >> height);
    const Image image = made(kind, seed, width, height);
    ++pictures;
    for (int side : kSides)
      for (const ImageProcessor processor : {ImageProcessor::torchvision, ImageProcessor::pillow}) {
        ASSERT_TRUE(line >> hash);
        EXPECT_EQ(hash_of(resize_bicubic(image, side, side, processor).rgb), hash)
            << kind << " " << seed << ", " << width << " x " << height << " to " << side << " by "
            << enum_name(processor);
      }
  }
  EXPECT_GE(pictures, 60);
}

TEST(Prepare, EveryByteHasTheValueThatTheProcessorGivesIt) {
  int tables = 0;
  for (std::istringstream& line : expected("table")) {
    std::string processor, hash;
    ImageSteps steps;
    ASSERT_TRUE(line >> processor >> steps.config.normalises >> steps.config.mean >> steps.config.std >>
                steps.config.rescale >> hash);
    steps.processor = enum_named<ImageProcessor>(processor);
    const auto table = value_table(steps);
    EXPECT_EQ(hash_of(table.data(), sizeof(table)), hash) << line.str();
    ++tables;
  }
  EXPECT_GE(tables, 10);
}

TEST(Prepare, BlackIsTheGroundWhereItIsAskedFor) {
  const std::vector<uint8_t> file = bytes_of(kFolder / "images/palette_alpha.png");
  const Image dropped = decode_image(file), white = decode_image(file, {}, Alpha::white),
              black = decode_image(file, {}, Alpha::black);
  int differ = 0;
  for (size_t i = 0; i < dropped.rgb.size(); ++i) {
    ASSERT_LE(black.rgb[i], dropped.rgb[i]);
    ASSERT_GE(white.rgb[i], dropped.rgb[i]);
    differ += black.rgb[i] != white.rgb[i];
  }
  EXPECT_GT(differ, 0);
}

/// A TIFF block with the orientation alone.
std::string tiff_with(int orientation, bool little) {
  const auto number = [&](uint32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i)
      text += static_cast<char>(value >> 8 * (little ? i : bytes - 1 - i) & 0xff);
    return text;
  };
  return (little ? "II" : "MM") + number(42, 2) + number(8, 4) + number(1, 2) + number(0x112, 2) +
         number(3, 2) + number(1, 4) + number(static_cast<uint32_t>(orientation), 2) + number(0, 6);
}

std::vector<uint8_t> jpeg_with(const std::string& tiff) {
  std::vector<uint8_t> jpeg = bytes_of(kFolder / "images/jpeg_17x16.jpg");
  const std::string exif = std::string("Exif\0\0", 6) + tiff;
  std::string app1 = {'\xff', '\xe1', 0, static_cast<char>(exif.size() + 2)};
  app1 += exif;
  jpeg.insert(jpeg.begin() + 2, app1.begin(), app1.end());
  return jpeg;
}

TEST(Orientation, TurnsAsPillowDoes) {
  ImageSteps as_stored, exif;
  exif.orientation = Orientation::exif;
  int turns = 0;
  for (std::istringstream& line : expected("turned")) {
    int orientation, width, height;
    std::string hash;
    ASSERT_TRUE(line >> orientation >> width >> height >> hash);
    for (const bool little : {false, true}) {
      const std::vector<uint8_t> file = jpeg_with(tiff_with(orientation, little));
      ASSERT_EQ(exif_orientation(file), orientation);
      const Image turned = upright(decode_image(file), orientation);
      EXPECT_EQ(turned.width, width);
      EXPECT_EQ(turned.height, height);
      EXPECT_EQ(hash_of(turned.rgb), hash) << orientation;
      EXPECT_EQ(prepare_image(file, exif).width, width);
      EXPECT_FALSE(prepare_image(file, exif).orientation_left);
      EXPECT_EQ(prepare_image(file, as_stored).width, 17);
      EXPECT_EQ(prepare_image(file, as_stored).orientation_left, orientation != 1);
    }
    ++turns;
  }
  EXPECT_EQ(turns, 8);
}

TEST(Orientation, IsFoundInPngAndWebpToo) {
  const std::string tiff = tiff_with(6, true);
  std::vector<uint8_t> png = encode_png(make_image(3, 2));
  const std::string chunk = std::string{0, 0, 0, static_cast<char>(tiff.size())} + "eXIf" + tiff + "crc.";
  png.insert(png.begin() + 33, chunk.begin(), chunk.end());
  EXPECT_EQ(exif_orientation(png), 6);
  const std::string webp = std::string("RIFF\xff\0\0\0WEBPVP8X\x01\0\0\0..EXIF", 26) +
                           std::string{static_cast<char>(tiff.size()), 0, 0, 0} + tiff;
  EXPECT_EQ(exif_orientation({reinterpret_cast<const uint8_t*>(webp.data()), webp.size()}), 6);
}

TEST(Orientation, WhatIsBrokenTurnsNothing) {
  EXPECT_EQ(exif_orientation({}), 1);
  EXPECT_EQ(exif_orientation(jpeg_with("II")), 1);
  EXPECT_EQ(exif_orientation(jpeg_with(tiff_with(9, true))), 1);
  EXPECT_EQ(exif_orientation(jpeg_with(tiff_with(0, false))), 1);
  const std::vector<uint8_t> whole = jpeg_with(tiff_with(6, true));
  for (size_t size = 0; size < 40; ++size) {
    const int orientation = exif_orientation(std::span(whole).first(size));
    EXPECT_TRUE(orientation == 1 || orientation == 6) << size;
  }
}

}  // namespace
}  // namespace lapidary
