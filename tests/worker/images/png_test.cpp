#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "configs/error.h"
#include "worker/images/image.h"

/// PNGs that the standard forbids. What is expected of each is what Pillow 13 does with it.
namespace lapidary {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kWidth = 23;
constexpr int kHeight = 17;
constexpr size_t kRow = 1 + 3 * kWidth;  // bytes of a filtered row of RGB
constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n", 8);

std::string be32(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string chunk(const std::string& name, const std::string& data, uint32_t damage = 0) {
  const std::string summed = name + data;
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(summed.data()), static_cast<uInt>(summed.size()));
  return be32(static_cast<uint32_t>(data.size())) + summed + be32(static_cast<uint32_t>(sum) ^ damage);
}

/// A header of 8-bit pixels; colour type 2 is RGB, 3 is of a palette.
std::string header(int colour_type = 2, bool interlaced = false) {
  return be32(kWidth) + be32(kHeight) + '\x08' + static_cast<char>(colour_type) + std::string(2, '\0') +
         static_cast<char>(interlaced);
}

/// `size` bytes of rows that no filter was applied to, `row` bytes each.
std::string rows(size_t size, size_t row = kRow) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = i % row == 0 ? '\0' : static_cast<char>(i * i / 3 + 7 * i);
  return bytes;
}

std::string zipped(const std::string& data) {
  std::string out(compressBound(data.size()), '\0');
  uLongf size = out.size();
  compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(data.data()),
           data.size());
  return out.substr(0, size);
}

Image decoded(const std::string& file) {
  return decode_image({reinterpret_cast<const uint8_t*>(file.data()), file.size()});
}

/// What the Error says, or what came instead of one.
std::string refusal(const std::string& file) {
  try {
    const Image image = decoded(file);
    return cat("decoded to ", image.width, " x ", image.height);
  } catch (const Error& error) {
    return error.what();
  }
}

struct Parts {
  std::string start = std::string(kSignature) + chunk("IHDR", header());
  std::string stream = zipped(rows(kRow * kHeight));
  std::string pixels = chunk("IDAT", stream);
  std::string end = chunk("IEND", "");
  std::vector<uint8_t> rgb = decoded(start + pixels + end).rgb;

  std::string stream_without(size_t bytes) const { return stream.substr(0, stream.size() - bytes); }
};

TEST(Png, ThePixelsOwnChecksumsAreNotLookedAt) {
  const Parts png;
  EXPECT_EQ(decoded(png.start + chunk("IDAT", png.stream, 1) + png.end).rgb, png.rgb);
  EXPECT_EQ(decoded(png.start + chunk("IDAT", png.stream_without(4)) + png.end).rgb, png.rgb)
      << "no Adler-32";
  EXPECT_EQ(decoded(png.start + chunk("IDAT", png.stream_without(2)) + png.end).rgb, png.rgb) << "half of it";
  std::string wrong = png.stream;
  wrong.back() ^= 1;
  EXPECT_EQ(refusal(png.start + chunk("IDAT", wrong) + png.end), "broken PNG: IDAT: incorrect data check");
}

TEST(Png, ChecksumsBeforeThePixelsMustBeRight) {
  const Parts png;
  const std::string sound = std::string(kSignature);
  EXPECT_EQ(refusal(sound + chunk("IHDR", header(), 1) + png.pixels + png.end),
            "broken PNG: the checksum of its chunk IHDR is wrong");
  EXPECT_EQ(refusal(png.start + chunk("tEXt", "a", 1) + png.pixels + png.end),
            "broken PNG: the checksum of its chunk tEXt is wrong");
  EXPECT_EQ(refusal(png.start + chunk("ABCD", "a", 1) + png.pixels + png.end),
            "broken PNG: the checksum of its chunk ABCD is wrong");
  EXPECT_EQ(decoded(png.start + png.pixels + chunk("tEXt", "a", 1) + chunk("IEND", "", 1)).rgb, png.rgb)
      << "behind the pixels";
}

TEST(Png, EndsEarly) {
  const Parts png;
  const std::string file = png.start + png.pixels;
  // Checksum of the chunk, then Adler-32: neither is needed.
  for (size_t less = 0; less <= 8; ++less)
    EXPECT_EQ(decoded(file.substr(0, file.size() - less)).rgb, png.rgb) << less << " bytes less";
  for (size_t less = 12; less < file.size() - 8; less += 5)
    EXPECT_THAT(refusal(file.substr(0, file.size() - less)), HasSubstr("early (truncated)")) << less;
  EXPECT_EQ(refusal(png.start + chunk("IDAT", png.stream_without(12)) + png.end),
            "broken PNG: its pixels end early (truncated)");

  const std::string text = file + chunk("tEXt", "some words");
  EXPECT_EQ(refusal(text.substr(0, text.size() - 7)),
            "broken PNG: the file ends early (truncated): its chunk tEXt has 7 of 10 bytes");
  EXPECT_EQ(decoded(text.substr(0, text.size() - 2)).rgb, png.rgb);
}

TEST(Png, FewerRowsInASoundStreamLeaveTheRestBlack) {
  const Parts png;
  const size_t some = 9;
  std::vector<uint8_t> expected(png.rgb.begin(), png.rgb.begin() + some * 3 * kWidth);
  expected.resize(png.rgb.size());
  const std::string stream = zipped(rows(kRow * some));
  EXPECT_EQ(decoded(png.start + chunk("IDAT", stream) + png.end).rgb, expected);

  const std::string refused = "broken PNG: its pixels end early (truncated)";
  EXPECT_EQ(refusal(png.start + chunk("IDAT", stream.substr(0, stream.size() - 4)) + png.end), refused);
  EXPECT_EQ(refusal(png.start + chunk("IDAT", zipped(rows(kRow * some + 20))) + png.end), refused)
      << "half a row";
  EXPECT_EQ(refusal(png.start + chunk("IDAT", zipped("")) + png.end), refused);

  // The first pass of an interlaced picture: 3 rows of 3 pixels.
  const std::string interlaced = std::string(kSignature) + chunk("IHDR", header(2, true));
  EXPECT_EQ(refusal(interlaced + chunk("IDAT", zipped(rows(20, 10))) + png.end), "decoded to 23 x 17");
  EXPECT_EQ(refusal(interlaced + chunk("IDAT", zipped(rows(25, 10))) + png.end), refused);
}

TEST(Png, NothingIsLookedAtBehindTheFirstPictureOfAnAnimation) {
  const Parts png;
  const auto animation = [](uint32_t frames) { return chunk("acTL", be32(frames) + be32(0)); };
  const std::string frame = chunk("fcTL", be32(0) + be32(kWidth) + be32(kHeight) + std::string(14, '\0'));
  const std::string cut = frame + be32(100) + "fdATxyz";
  const std::string refused =
      "broken PNG: the file ends early (truncated): its chunk fdAT has 3 of 100 bytes";
  EXPECT_EQ(decoded(png.start + animation(2) + frame + png.pixels + cut).rgb, png.rgb);
  EXPECT_EQ(decoded(png.start + animation(1) + png.pixels + cut).rgb, png.rgb) << "a picture and one frame";
  EXPECT_EQ(refusal(png.start + animation(1) + frame + png.pixels + cut), refused);
  EXPECT_EQ(refusal(png.start + animation(0) + png.pixels + cut), refused);
  EXPECT_EQ(refusal(png.start + animation(2) + animation(2) + frame + png.pixels + cut), refused);
  EXPECT_EQ(refusal(png.start + png.pixels + cut), refused);
  EXPECT_EQ(refusal(png.start + chunk("acTL", "abc") + png.pixels),
            "broken PNG: its chunk acTL has 3 bytes instead of 8");
}

TEST(Png, ChunksOfAnyNameAndOrder) {
  const Parts png;
  for (const std::string name : {"ABCD", "abcd", "a1_d", "CgBI"})
    EXPECT_EQ(decoded(png.start + chunk(name, "hello") + png.pixels + png.end).rgb, png.rgb) << name;
  EXPECT_EQ(decoded(png.start + png.pixels + chunk("ABCD", "") + png.end).rgb, png.rgb);
  EXPECT_EQ(decoded(std::string(kSignature) + chunk("tEXt", "a") + png.start.substr(8) + png.pixels).rgb,
            png.rgb);
  EXPECT_EQ(refusal(png.start + chunk("a-+d", "") + png.pixels),
            "broken PNG: a chunk before its pixels has no name of letters");
  EXPECT_EQ(refusal(png.start + png.end), "broken PNG: it holds no pixels");
  const std::string head = png.stream.substr(0, 200);
  const std::string tail = png.stream.substr(200);
  EXPECT_EQ(
      decoded(png.start + chunk("IDAT", "") + chunk("IDAT", head) + chunk("IDAT", "") + chunk("IDAT", tail))
          .rgb,
      png.rgb);
  EXPECT_EQ(refusal(png.start + chunk("IDAT", head) + chunk("tEXt", "a") + chunk("IDAT", tail) + png.end),
            "broken PNG: its pixels end early (truncated)");
}

TEST(Png, HeadersOutOfTheStandard) {
  const Parts png;
  const auto with_header = [&](const std::string& header) {
    return std::string(kSignature) + chunk("IHDR", header) + png.pixels + png.end;
  };
  EXPECT_EQ(decoded(with_header(header() + "xyz")).rgb, png.rgb);
  EXPECT_EQ(refusal(with_header(header().substr(1))), "broken PNG: its header has 12 bytes instead of 13");
  std::string other = header();
  other[10] = 1;  // the compression: there is but one
  EXPECT_EQ(decoded(with_header(other)).rgb, png.rgb);
  other[11] = 64;
  EXPECT_EQ(refusal(with_header(other)),
            "broken PNG: its header asks for filters of kind 64; only 0 is known");
  other = header();
  other[8] = 3;  // bits a channel
  EXPECT_THAT(refusal(with_header(other)), StartsWith("broken PNG: "));
}

TEST(Png, ASmallerWindowThanWasUsed) {
  const Parts png;
  std::string rows_far_apart = rows(kRow * kHeight);
  std::copy_n(rows_far_apart.begin() + 1, 300,
              rows_far_apart.begin() + 11 * kRow + 1);  // a match 770 bytes back
  for (size_t at = 0; at < rows_far_apart.size(); at += kRow) rows_far_apart[at] = '\0';
  std::string stream = zipped(rows_far_apart);
  const Image expected = decoded(png.start + chunk("IDAT", stream));
  stream[0] = 0x08;  // 256 bytes
  stream[1] = 0x1d;
  EXPECT_EQ(decoded(png.start + chunk("IDAT", stream)).rgb, expected.rgb);
}

TEST(Png, PalettesOfAnyLength) {
  const std::string start = std::string(kSignature) + chunk("IHDR", header(3));
  std::string indices((1 + kWidth) * kHeight, '\0');
  indices[1] = 1;
  indices[2] = 3;
  const std::string pixels = chunk("IDAT", zipped(indices));
  const auto first = [&](const std::string& file) {
    const auto rgb = decoded(file).rgb;
    return std::vector<int>(rgb.begin(), rgb.begin() + 9);
  };
  const std::string colours = "abcdefghijkl";
  using Pixels = std::vector<int>;
  EXPECT_EQ(first(start + chunk("PLTE", colours) + pixels),
            (Pixels{'d', 'e', 'f', 'j', 'k', 'l', 'a', 'b', 'c'}));
  EXPECT_EQ(first(start + chunk("PLTE", colours.substr(0, 10)) + pixels),
            (Pixels{'d', 'e', 'f', 0, 0, 0, 'a', 'b', 'c'}));
  EXPECT_EQ(first(start + chunk("PLTE", "") + pixels), Pixels(9));
  EXPECT_EQ(first(start + pixels), Pixels(9)) << "no palette";
  EXPECT_EQ(first(start + pixels + chunk("PLTE", colours)), Pixels(9)) << "too late";
  EXPECT_EQ(refusal(start + chunk("PLTE", std::string(771, 'a')) + pixels),
            "broken PNG: its palette has 771 bytes, more than 768");
}

}  // namespace
}  // namespace lapidary
