#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "configs/error.h"
#include "worker/images/image.h"

/// Small files that ask for much memory. What decoding takes is measured, by what the system says of this
/// process, beside what it said that it would take.
namespace lapidary {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string golden(const std::string& name) {
  std::ifstream in(std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/images" / name,
                   std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Bytes, of a line such as "VmHWM:  1234 kB".
int64_t status_line(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name)) return std::stoll(line.substr(name.size())) * 1024;
  return -1;
}

/// A sanitizer holds several times what the program does.
bool is_sanitized() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find("libasan") != std::string::npos || line.find("libtsan") != std::string::npos) return true;
  return false;
}

/// The most that this process holds resident from here on is counted anew.
bool forget_peak() {
  std::ofstream refs("/proc/self/clear_refs");
  refs << "5" << std::flush;
  return refs.good();
}

struct Cost {
  std::string outcome;    // what the Error says, or the size
  int64_t announced = 0;  // bytes, to before_decoding
  int64_t measured = 0;   // bytes that the process grew by
};

Cost cost_of(const std::string& file, ImageLimits limits = {}, Alpha alpha = Alpha::drop) {
  Cost cost;
  limits.before_decoding = [&](int64_t bytes) { cost.announced += bytes; };
  static const bool measures = !is_sanitized();
  const bool counted = forget_peak() && measures;
  const int64_t before = status_line("VmRSS:");
  try {
    const Image image =
        decode_image({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, limits, alpha);
    cost.outcome = cat(image.width, " x ", image.height);
  } catch (const Error& error) {
    cost.outcome = error.what();
  }
  cost.measured = counted ? status_line("VmHWM:") - before : 0;
  return cost;
}

std::string be16(int value) { return {static_cast<char>(value >> 8), static_cast<char>(value)}; }
std::string be32(uint32_t value) {
  return be16(static_cast<int>(value >> 16)) + be16(static_cast<int>(value & 0xffff));
}

/// A JPEG whose header speaks of another size; behind its data all is grey.
std::string jpeg_of(const std::string& name, int width, int height) {
  std::string file = golden(name);
  size_t at = file.find("\xff\xc0");
  if (at == std::string::npos) at = file.find("\xff\xc2");
  return file.replace(at + 5, 4, be16(height) + be16(width));
}

std::string chunk(const std::string& name, const std::string& data) {
  const std::string summed = name + data;
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(summed.data()), static_cast<uInt>(summed.size()));
  return be32(static_cast<uint32_t>(data.size())) + summed + be32(static_cast<uint32_t>(sum));
}

/// `bytes` zeros.
std::string zipped_zeros(size_t bytes) {
  const std::string zeros(bytes, '\0');
  std::string out(compressBound(bytes), '\0');
  uLongf size = out.size();
  compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(zeros.data()), bytes,
            9);
  return out.substr(0, size);
}

/// Black, one bit a pixel; `before` stands behind the header.
std::string png_of(uint32_t side, bool interlaced, const std::string& before = "") {
  const std::string header =
      be32(side) + be32(side) + std::string("\1\0\0\0", 4) + static_cast<char>(interlaced);
  const size_t rows = size_t{side} * (side / 8 + 2) * 2;  // more than enough, for all passes
  return std::string("\x89PNG\r\n\x1a\n", 8) + chunk("IHDR", header) + before +
         chunk("IDAT", zipped_zeros(rows)) + chunk("IEND", "");
}

/// Clear, 8 bits of four kinds a pixel.
std::string rgba_png_of(uint32_t side) {
  const std::string header = be32(side) + be32(side) + std::string("\x8\x6\0\0\0", 5);
  return std::string("\x89PNG\r\n\x1a\n", 8) + chunk("IHDR", header) +
         chunk("IDAT", zipped_zeros(size_t{side} * (4 * size_t{side} + 1))) + chunk("IEND", "");
}

/// Black and lossless: no bits for any pixel.
std::string webp_of(int width, int height, bool has_alpha = false) {
  std::string file("RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f\0\0\0\0\x07\x10\x11\x11\x88\x88\xfe\x07\0\0\0\0\0",
                   38);
  const uint32_t sizes = static_cast<uint32_t>(width - 1) | static_cast<uint32_t>(height - 1) << 14 |
                         static_cast<uint32_t>(has_alpha) << 28;
  for (size_t i = 0; i < 4; ++i) file[21 + i] = static_cast<char>(sizes >> (8 * i));
  return file;
}

constexpr int64_t kSlack = 24 << 20;  // tables, buffers of rows, the allocator's own
constexpr int kSide = 5000;
constexpr int64_t kPixels = int64_t{kSide} * kSide;

TEST(ImageMemory, NoKindTakesMoreThanItSays) {
  const std::string size = cat(kSide, " x ", kSide);
  const struct {
    const char* what;
    std::string file;
    int64_t bytes_a_pixel;
    Alpha alpha = Alpha::drop;
  } kinds[] = {
      {"RGB", jpeg_of("jpeg_420.jpg", kSide, kSide), 3},
      {"CMYK", jpeg_of("jpeg_cmyk_adobe.jpg", kSide, kSide), 3},
      {"YCCK", jpeg_of("jpeg_ycck.jpg", kSide, kSide), 3},
      {"progressive 4:4:4", jpeg_of("jpeg_444_progressive.jpg", kSide, kSide), 9},
      {"progressive 4:2:0", jpeg_of("jpeg_420_progressive.jpg", kSide, kSide), 6},
      {"one-bit PNG", png_of(kSide, false), 3},
      {"interlaced PNG", png_of(kSide, true), 3},
      {"RGBA PNG", rgba_png_of(kSide), 3},
      {"RGBA PNG, blended", rgba_png_of(kSide), 4, Alpha::white},
      {"WebP", webp_of(kSide, kSide), 8},
      {"WebP with alpha", webp_of(kSide, kSide, true), 8},
      {"WebP with alpha, blended", webp_of(kSide, kSide, true), 12, Alpha::white},
  };
  for (const auto& kind : kinds) {
    ASSERT_LT(kind.file.size(), 200'000u) << kind.what;
    const Cost cost = cost_of(kind.file, {}, kind.alpha);
    EXPECT_EQ(cost.outcome, size) << kind.what;
    EXPECT_LE(cost.announced, kind.bytes_a_pixel * kPixels * 101 / 100)
        << kind.what;  // whole blocks at the edges
    EXPECT_LE(cost.measured, cost.announced + kSlack) << kind.what;
    if (cost.measured > 0) {
      EXPECT_GE(cost.measured, 3 * kPixels - kSlack) << kind.what << ": nothing was measured";
    }
    const Cost refused = cost_of(kind.file, {.max_memory_bytes = cost.announced - 1}, kind.alpha);
    EXPECT_THAT(refused.outcome, HasSubstr("bytes of memory to decode, more than the limit of")) << kind.what;
    EXPECT_EQ(refused.announced, 0) << kind.what;
    EXPECT_LE(refused.measured, kSlack) << kind.what;
  }
}

TEST(ImageMemory, TheLargestPicturesStayWithinTheLimit) {
  if (is_sanitized()) GTEST_SKIP() << "sanitizers take too much memory beside";
  constexpr int kLargest = 13377;  // of a square within the limit of pixels
  const Cost webp = cost_of(webp_of(kLargest, kLargest));
  EXPECT_EQ(webp.outcome, "13377 x 13377");
  EXPECT_LE(webp.measured, ImageLimits().max_memory_bytes + kSlack);
  const Cost inks = cost_of(jpeg_of("jpeg_cmyk_adobe.jpg", kLargest, kLargest));
  EXPECT_EQ(inks.outcome, "13377 x 13377");
  EXPECT_LE(inks.measured, int64_t{3} * kLargest * kLargest + kSlack);
  EXPECT_THAT(cost_of(webp_of(kLargest + 1, kLargest + 1)).outcome,
              HasSubstr("more than the limit of 178956970"));
}

TEST(ImageMemory, WhatIsNoPixelTakesNothing) {
  constexpr size_t kBomb = 300 << 20;
  const std::string inflated = zipped_zeros(kBomb);
  const std::string profile = chunk("iCCP", std::string("a\0\0", 3) + inflated);
  const std::string text = chunk("zTXt", std::string("a\0\0", 3) + inflated);
  const std::string international = chunk("iTXt", std::string("a\0\1\0\0\0", 6) + inflated);
  for (const std::string& before : {profile, text, international, text + text + profile}) {
    const Cost cost = cost_of(png_of(16, false, before));
    EXPECT_EQ(cost.outcome, "16 x 16");
    EXPECT_LE(cost.measured, kSlack);
  }
  const Cost more = cost_of(std::string("\x89PNG\r\n\x1a\n", 8) +
                            chunk("IHDR", be32(16) + be32(16) + std::string("\1\0\0\0\0", 5)) +
                            chunk("IDAT", inflated) + chunk("IEND", ""));
  EXPECT_EQ(more.outcome, "16 x 16") << "the rest of the stream is not looked at";
  EXPECT_LE(more.measured, kSlack);

  std::string segments = golden("jpeg_420.jpg");
  std::string notes;
  for (const char mark : {'\xe1', '\xe2', '\xed', '\xfe'})
    for (int i = 0; i < 100; ++i) notes += std::string("\xff") + mark + "\xff\xff" + std::string(65533, 'x');
  segments.insert(2, notes);
  const Cost noted = cost_of(segments);
  EXPECT_EQ(noted.outcome, "123 x 97");
  EXPECT_LE(noted.measured, kSlack);
}

TEST(ImageMemory, EndlessPiecesAreRefused) {
  std::string png =
      std::string("\x89PNG\r\n\x1a\n", 8) + chunk("IHDR", be32(16) + be32(16) + std::string("\1\0\0\0\0", 5));
  const std::string piece = chunk("IDAT", "x");
  png.reserve(png.size() + piece.size() * ((1 << 20) + 1));
  for (int i = 0; i <= 1 << 20; ++i) png += piece;
  EXPECT_EQ(cost_of(png).outcome,
            "broken PNG: its pixels are cut into more than 1048576 chunks: save it anew");

  std::string webp = golden("webp_animated.webp");
  for (int i = 0; i < 1 << 18; ++i) webp += std::string("ABCD\0\0\0\0", 8);
  const auto riff = static_cast<uint32_t>(webp.size() - 8);
  for (size_t i = 0; i < 4; ++i) webp[4 + i] = static_cast<char>(riff >> (8 * i));
  const Cost cost = cost_of(webp);
  EXPECT_THAT(cost.outcome, StartsWith("WebP of more than 262144 chunks, the limit"));
  EXPECT_LE(cost.measured, kSlack);
}

}  // namespace
}  // namespace lapidary
