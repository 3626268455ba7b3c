#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "configs/error.h"
#include "worker/images/image.h"
#include "worker/jpeg/bits.h"
#include "worker/jpeg/scans.h"

/// JPEGs out of the ordinary; what comes of whole ones stands in tests/golden/images.
namespace lapidary {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string golden(const std::string& name) {
  std::ifstream in(std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/images" / name,
                   std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// What the Error says, or what came instead of one.
std::string refusal(const std::string& file, const ImageLimits& limits = {}) {
  try {
    const Image image = decode_image(bytes_of(file), limits);
    return cat("decoded to ", image.width, " x ", image.height);
  } catch (const Error& error) {
    return error.what();
  }
}

/// Where the frame's header has its precision, height, width and number of components.
size_t frame_of(const std::string& file) { return file.find("\xff\xc3") + 4; }

/// Where the first scan's header says how many components it has.
size_t scan_of(const std::string& file) { return file.find("\xff\xda") + 4; }

TEST(JpegScans, AreCountedByTheirMarks) {
  EXPECT_EQ(count_jpeg_scans(bytes_of(golden("jpeg_420.jpg"))), 1);
  EXPECT_EQ(count_jpeg_scans(bytes_of(golden("jpeg_420_progressive.jpg"))), 10);
  EXPECT_EQ(count_jpeg_scans(bytes_of(golden("jpeg_restarts_progressive.jpg"))), 10);
  EXPECT_EQ(count_jpeg_scans(bytes_of(golden("jpeg_grey_progressive.jpg"))), 6);
  EXPECT_EQ(count_jpeg_scans({}), 0);
  const std::string scan("\xff\xda\0\x03x", 5);
  EXPECT_EQ(count_jpeg_scans(bytes_of(scan)), 1);
  EXPECT_EQ(count_jpeg_scans(bytes_of(scan + "abc" + std::string("\xff\0\xff\xd0", 4) + scan)), 2);
  EXPECT_EQ(count_jpeg_scans(bytes_of("\xff\xff\xff" + scan.substr(1))), 1);
  EXPECT_EQ(count_jpeg_scans(bytes_of(scan + "\xff\xd9" + scan)), 1) << "behind the end mark is no picture";
  EXPECT_EQ(count_jpeg_scans(bytes_of(std::string("\xff\xe1\0\x07", 4) + scan)), 0) << "inside a segment";
  EXPECT_EQ(count_jpeg_scans(bytes_of(std::string("\xff\xda\xff", 3))), 1);
}

TEST(JpegLossless, AllItsKindsAreRead) {
  const Image red = decode_image(bytes_of(golden("jpeg_lossless_3.jpg")));
  const Image colour = decode_image(bytes_of(golden("jpeg_lossless_1.jpg")));
  for (int y = 0; y < red.height; ++y)
    for (int x = 0; x < red.width; ++x) ASSERT_EQ(red.row(y)[3 * x], colour.row(y)[3 * x]);
  for (const std::string name : {"2", "4", "5", "7", "scans", "restarts"})
    EXPECT_EQ(decode_image(bytes_of(golden("jpeg_lossless_" + name + ".jpg"))).rgb, colour.rgb) << name;
}

TEST(JpegLossless, WhatPillowRefusesIsRefused) {
  const std::string whole = golden("jpeg_lossless_4.jpg");
  ASSERT_EQ(refusal(whole), "decoded to 29 x 21");
  const auto changed = [&](size_t at, char value) {
    std::string file = whole;
    file[at] = value;
    return refusal(file);
  };
  EXPECT_EQ(changed(frame_of(whole), 12),
            "lossless JPEG of 12 bits a sample; 8 are known: save it with them");
  EXPECT_EQ(changed(scan_of(whole) + 7, 0),
            "broken JPEG: a lossless scan with the predictor 0 and the shift 0");
  EXPECT_EQ(changed(scan_of(whole) + 7, 8),
            "broken JPEG: a lossless scan with the predictor 8 and the shift 0");
  EXPECT_EQ(changed(scan_of(whole) + 9, 9),
            "broken JPEG: a lossless scan with the predictor 4 and the shift 9");
  EXPECT_THAT(changed(scan_of(whole) + 1, 7), HasSubstr("a scan of a component that it does not have"));
  EXPECT_THAT(changed(scan_of(whole) + 3, 1), HasSubstr("a scan that names a component twice"));
  EXPECT_THAT(changed(scan_of(whole) + 2, 0x10), HasSubstr("Huffman table 1 is missing"));
  EXPECT_THAT(changed(scan_of(whole), 2), HasSubstr("speaks of 2 of its 3 components"));
  EXPECT_THAT(changed(whole.size() - 1, '\xd8'), HasSubstr("the mark 216 that it holds has no place there"));
  EXPECT_EQ(changed(whole.size() - 1, '\xd0'), "decoded to 29 x 21") << "a missing end mark is no harm";
  const std::string adobe("\xff\xee\0\x0e\x41\x64obe\0\x64\0\0\0\0\x01", 16);
  EXPECT_THAT(refusal(whole.substr(0, 2) + adobe + whole.substr(2)), HasSubstr("its colours are YCbCr"));
  const std::string odd_restarts("\xff\xdd\0\4\0\x0a", 6);
  EXPECT_THAT(refusal(whole.substr(0, 2) + odd_restarts + whole.substr(2)),
              HasSubstr("restarts every 10 units, which is no whole number of rows of 29"));
}

TEST(JpegLossless, EveryTruncationIsRefused) {
  for (const std::string name :
       {"jpeg_lossless_1.jpg", "jpeg_lossless_restarts.jpg", "jpeg_lossless_scans.jpg"}) {
    const std::string whole = golden(name);
    for (size_t size = 16; size < whole.size() - 1; size += 13)
      EXPECT_THAT(refusal(whole.substr(0, size)), HasSubstr("truncated")) << name << " after " << size;
  }
}

TEST(JpegLossless, LimitsHold) {
  const std::string whole = golden("jpeg_lossless_scans.jpg");
  const int64_t pixels = 29 * 21;
  EXPECT_EQ(refusal(whole, {.max_memory_bytes = 6 * pixels}), "decoded to 29 x 21");
  EXPECT_EQ(refusal(whole, {.max_memory_bytes = 6 * pixels - 1}),
            "JPEG that takes 3654 bytes of memory to decode, more than the limit of 3653");
  EXPECT_EQ(refusal(whole, {.max_scanned_pixels = 3 * pixels}), "decoded to 29 x 21");
  EXPECT_THAT(refusal(whole, {.max_scanned_pixels = 2 * pixels}),
              StartsWith("lossless JPEG of 3 scans of 29 x 21 pixels, more than the limit of 2"));
  EXPECT_THAT(refusal(whole, {.max_pixels = pixels - 1}),
              StartsWith("JPEG of 29 x 21 = 609 pixels, more than"));
}

TEST(JpegBits, TablesThatCannotBeAreRefused) {
  std::array<uint8_t, 16> lengths{};
  const std::vector<uint8_t> symbols{0, 1, 2};
  lengths[0] = 3;  // three codes of one bit
  EXPECT_THROW(JpegHuffman(lengths, symbols), Error);
  lengths = {0, 4};  // four codes, three symbols
  EXPECT_THROW(JpegHuffman(lengths, symbols), Error);
  lengths = {0, 3};
  EXPECT_NO_THROW(JpegHuffman(lengths, symbols));
  const std::vector<uint8_t> long_difference{0, 1, 17};
  EXPECT_THROW(JpegHuffman(lengths, long_difference), Error);
}

TEST(JpegBits, DifferencesAndTheirEnd) {
  const std::array<uint8_t, 16> lengths{0, 3};  // 00: none, 01: a bit, 10: three bits
  const std::vector<uint8_t> symbols{0, 1, 3};
  const JpegHuffman table(lengths, symbols);
  // 01 1, 01 0, 10 111, 10 011, 00: 1, -1, 7, -4, 0
  const std::vector<uint8_t> bytes{0b01101010, 0b11110011, 0b00000000};
  JpegBits bits(bytes);
  for (const int expected : {1, -1, 7, -4, 0}) EXPECT_EQ(bits.difference(table), expected);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(bits.difference(table), 0);
  EXPECT_FALSE(bits.ran_out());
  EXPECT_EQ(bits.difference(table), 0);
  EXPECT_TRUE(bits.ran_out());
}

}  // namespace
}  // namespace lapidary
