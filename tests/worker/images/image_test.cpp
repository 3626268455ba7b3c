#include "worker/images/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "configs/error.h"
#include "worker/images/resize.h"

namespace lapidary {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::filesystem::path kFolder = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/images";

std::vector<uint8_t> bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<uint8_t> golden(const std::string& name) { return bytes_of(kFolder / name); }

/// Two checksums of zlib's, which libpng brings along.
std::string hash_of(const Image& image) {
  const auto size = static_cast<uInt>(image.rgb.size());
  char text[17];
  std::snprintf(text, sizeof(text), "%08lx%08lx", crc32(0, image.rgb.data(), size),
                adler32(1, image.rgb.data(), size));
  return text;
}

/// What the Error says, or what came instead of one.
std::string refusal(std::span<const uint8_t> bytes, const ImageLimits& limits = {}) {
  try {
    const Image image = decode_image(bytes, limits);
    return cat("decoded to ", image.width, " x ", image.height);
  } catch (const Error& error) {
    return error.what();
  }
}

std::string path_refusal(const std::filesystem::path& path, const ImageLimits& limits = {}) {
  try {
    read_image(path, limits);
    return "decoded";
  } catch (const Error& error) {
    return error.what();
  }
}

std::filesystem::path scratch(const std::string& name) {
  return std::filesystem::path(::testing::TempDir()) / name;
}

void put_be32(std::vector<uint8_t>& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

/// A PNG whose header speaks of this size, its checksum put right.
std::vector<uint8_t> png_that_claims(uint32_t width, uint32_t height) {
  std::vector<uint8_t> bytes = golden("rgb8.png");
  put_be32(bytes, 16, width);
  put_be32(bytes, 20, height);
  uint32_t crc = ~0u;
  for (size_t i = 12; i < 29; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  put_be32(bytes, 29, ~crc);
  return bytes;
}

TEST(Image, EqualsPillowBitForBit) {
  std::ifstream expected(kFolder / "expected.txt");
  int pictures = 0;
  for (std::string line; std::getline(expected, line); ++pictures) {
    std::istringstream fields(line);
    std::string name, decoded;
    int width, height;
    ASSERT_TRUE(fields >> name >> width >> height >> decoded) << line;
    const Image image = read_image(kFolder / name);
    EXPECT_EQ(image.width, width) << name;
    EXPECT_EQ(image.height, height) << name;
    EXPECT_EQ(hash_of(image), decoded) << name;
    for (int side : {224, 448, 896}) {
      std::string resized;
      ASSERT_TRUE(fields >> resized) << line;
      EXPECT_EQ(hash_of(resize_bicubic(image, side, side)), resized) << name << " to " << side;
    }
  }
  EXPECT_GE(pictures, 60);
}

TEST(Image, RefusesWhatIsNoImage) {
  EXPECT_EQ(refusal({}), "an empty file (0 bytes), not an image");
  const std::string text = "hello, world";
  EXPECT_EQ(refusal({reinterpret_cast<const uint8_t*>(text.data()), text.size()}),
            "not a JPEG, PNG or WebP image but a text that begins with \"hello, world\"");
  EXPECT_EQ(refusal(std::vector<uint8_t>{0xff, 0xd8}),
            "not a JPEG, PNG or WebP image but the beginning of a JPEG image: fetch the picture again");
  EXPECT_THAT(refusal(std::vector<uint8_t>{'R', 'I', 'F', 'F', 0, 0, 0, 0, 'W', 'A', 'V', 'E'}),
              HasSubstr("not a JPEG, PNG or WebP image but a WAV recording"));
}

TEST(Image, TheNameOfAFileDoesNotMatter) {
  const auto path = scratch("a_png_named.jpg");
  std::filesystem::copy_file(kFolder / "rgb8.png", path, std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(read_image(path).rgb, read_image(kFolder / "rgb8.png").rgb);
}

TEST(Image, EveryTruncationIsRefused) {
  for (const std::string name : {"jpeg_420.jpg", "jpeg_444_progressive.jpg", "jpeg_restarts.jpg",
                                 "jpeg_arithmetic.jpg", "jpeg_ycck.jpg", "webp_lossy.webp",
                                 "webp_lossless_alpha.webp", "webp_lossy_alpha.webp", "webp_animated.webp"}) {
    const std::vector<uint8_t> whole = golden(name);
    ASSERT_GT(whole.size(), 200u) << name;
    const size_t step = std::max<size_t>(1, whole.size() / 150);
    for (size_t size = 16; size < whole.size() - 16; size += step)
      EXPECT_THAT(refusal(std::span(whole).first(size)), HasSubstr("truncated")) << name << " after " << size;
  }
}

TEST(Image, ATruncatedPngIsRefusedUnlessAllPixelsAreThere) {
  for (const std::string name : {"rgb8.png", "rgb8_interlaced.png", "palette4.png", "grey16.png"}) {
    const std::vector<uint8_t> whole = golden(name);
    for (size_t size = 8; size + 30 < whole.size(); size += 7)
      EXPECT_THAT(refusal(std::span(whole).first(size)), StartsWith("broken PNG: "))
          << name << " after " << size;
    const Image image =
        decode_image(std::span(whole).first(whole.size() - 12));  // only the end mark is missing
    EXPECT_EQ(image.rgb, decode_image(whole).rgb) << name;
  }
}

TEST(Image, DamageIsAnErrorOrAPictureNeverACrash) {
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    std::vector<uint8_t> bytes = bytes_of(entry.path());
    if (bytes.size() > 20'000) continue;
    uint32_t random = 1;
    for (int round = 0; round < 20; ++round) {
      random = random * 1664525 + 1013904223;
      const size_t at = random % bytes.size();
      const uint8_t before = bytes[at];
      bytes[at] ^= static_cast<uint8_t>(1 << (random >> 29));
      refusal(bytes, {.max_pixels = 1 << 20});
      bytes[at] = before;
    }
  }
}

TEST(Image, AJpegDamagedIntoAnUnknownMarkerIsRefused) {
  std::vector<uint8_t> bytes = golden("jpeg_444.jpg");
  const size_t at = bytes.size() / 2;
  bytes[at] = 0xff;
  bytes[at + 1] = 0x10;
  EXPECT_EQ(refusal(bytes), "broken JPEG: Unsupported marker type 0x10");
}

TEST(Image, EndlessScansAreRefused) {
  const std::vector<uint8_t> whole = golden("jpeg_444_progressive.jpg");
  const std::vector<uint8_t> scan_mark{0xff, 0xda};
  const auto last = std::find_end(whole.begin(), whole.end(), scan_mark.begin(), scan_mark.end());
  ASSERT_NE(last, whole.end());
  std::vector<uint8_t> bytes(whole.begin(), last);
  for (int i = 0; i < 600; ++i) bytes.insert(bytes.end(), last, whole.end() - 2);
  bytes.insert(bytes.end(), whole.end() - 2, whole.end());
  EXPECT_EQ(
      refusal(bytes),
      "JPEG of 609 scans of 85 x 119 pixels, more than the limit of 500 for this size (about ten are usual): "
      "save it anew");
  const int64_t pixels = 85 * 119;
  EXPECT_EQ(refusal(whole, {.max_scanned_pixels = 10 * pixels}), "decoded to 85 x 119");
  EXPECT_EQ(refusal(whole, {.max_scanned_pixels = 10 * pixels - 1}),
            "JPEG of 10 scans of 85 x 119 pixels, more than the limit of 9 for this size (about ten are "
            "usual): save "
            "it anew");
}

TEST(Image, MemoryOfTheDecoderIsBounded) {
  const int64_t pixels = 131 * 87;
  EXPECT_EQ(refusal(golden("webp_lossy.webp"), {.max_memory_bytes = 8 * pixels}), "decoded to 131 x 87");
  EXPECT_EQ(refusal(golden("webp_lossy.webp"), {.max_memory_bytes = 8 * pixels - 1}),
            "WebP that takes 91176 bytes of memory to decode, more than the limit of 91175");
  // 3 bytes a pixel, and 15 x 11 blocks of 64 coefficients for each of three colours.
  EXPECT_EQ(refusal(golden("jpeg_444_progressive.jpg"), {.max_memory_bytes = 85 * 119 * 3 + 11 * 15 * 384}),
            "decoded to 85 x 119");
  EXPECT_EQ(
      refusal(golden("jpeg_444_progressive.jpg"), {.max_memory_bytes = 85 * 119 * 3 + 11 * 15 * 384 - 1}),
      "JPEG that takes 93705 bytes of memory to decode, more than the limit of 93704");
}

TEST(Image, APngWithAWrongChecksumIsRefused) {
  std::vector<uint8_t> bytes = golden("rgb8.png");
  bytes[bytes.size() / 2] ^= 1;
  EXPECT_THAT(refusal(bytes), StartsWith("broken PNG: "));
}

TEST(Image, DecompressionBombsAreRefusedFromTheHeader) {
  EXPECT_EQ(
      refusal(png_that_claims(60'000, 60'000)),
      "PNG of 60000 x 60000 = 3600000000 pixels, more than the limit of 178956970 (a decompression bomb?)");
  EXPECT_EQ(refusal(png_that_claims(2'000'000, 1)),
            "PNG of 2000000 x 1 pixels: a side is longer than the limit of 1000000");
  EXPECT_THAT(refusal(png_that_claims(0, 5)), StartsWith("broken PNG: "));

  std::vector<uint8_t> jpeg = golden("jpeg_420.jpg");
  const std::vector<uint8_t> frame{0xff, 0xc0, 0x00, 0x11, 0x08};
  const auto at = std::search(jpeg.begin(), jpeg.end(), frame.begin(), frame.end());
  ASSERT_NE(at, jpeg.end());
  std::fill(at + 5, at + 9, uint8_t{0xea});  // 0xeaea = 60138
  EXPECT_THAT(refusal(jpeg),
              StartsWith("JPEG of 60138 x 60138 = 3616579044 pixels, more than the limit of 178956970"));

  const auto webp = golden("webp_lossy.webp");
  EXPECT_THAT(refusal(webp, {.max_pixels = 11'396}),
              StartsWith("WebP of 131 x 87 = 11397 pixels, more than the limit"));
  EXPECT_EQ(refusal(webp, {.max_pixels = 11'397}), "decoded to 131 x 87");
  EXPECT_EQ(refusal(webp, {.max_side = 130}),
            "WebP of 131 x 87 pixels: a side is longer than the limit of 130");
}

TEST(Image, PathsAreNamed) {
  EXPECT_EQ(path_refusal("/no/such/file.png"), "/no/such/file.png: no such file");
  EXPECT_EQ(path_refusal(kFolder), kFolder.string() + ": a folder, not an image");
  EXPECT_EQ(path_refusal("/dev/zero"), "/dev/zero: not a regular file");
  const auto expected = (kFolder / "expected.txt").string();
  EXPECT_THAT(path_refusal(expected), StartsWith(expected + ": not a JPEG, PNG or WebP image"));
  const auto picture = kFolder / "noise.png";
  EXPECT_THAT(path_refusal(picture, {.max_bytes = 100}),
              AllOf(StartsWith(picture.string() + ": has "),
                    HasSubstr("more than the limit of 100 for an image file")));
}

TEST(Image, PngRoundTrip) {
  const Image image = read_image(kFolder / "jpeg_420.jpg");
  const Image back = decode_image(encode_png(image));
  EXPECT_EQ(back.width, image.width);
  EXPECT_EQ(back.height, image.height);
  EXPECT_EQ(back.rgb, image.rgb);
  const auto path = scratch("round_trip.png");
  write_png(path, image);
  EXPECT_EQ(read_image(path).rgb, image.rgb);
}

TEST(Image, PngThatCannotBeWritten) {
  const Image image = make_image(4, 4);
  EXPECT_THROW(write_png("/no/such/folder/a.png", image), Error);
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_THROW(write_png("/dev/full", image), Error);
    EXPECT_TRUE(std::filesystem::exists("/dev/full"));
  }
  EXPECT_THROW(encode_png(Image{}), Error);
  EXPECT_THROW(make_image(0, 3), Error);
}

}  // namespace
}  // namespace lapidary
