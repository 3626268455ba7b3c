#include "worker/images/file_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>
#include <utility>

namespace lapidary {
namespace {

using namespace std::string_view_literals;
using ::testing::StartsWith;

std::string kind(std::string_view bytes) {
  return kind_of_file({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

/// The first bytes as each format's writers put them, zeros behind.
std::string padded(std::string_view start, size_t size = 300) {
  std::string bytes(start);
  bytes.resize(size);
  return bytes;
}

TEST(FileKind, FormatsOfPictures) {
  const std::pair<std::string_view, std::string_view> known[] = {
      {"GIF89a\x17\0\x11\0\xf7\0\0"sv, "a GIF image"},
      {"GIF87a\x17\0\x11\0\xf7\0\0"sv, "a GIF image"},
      {"BM\xca\x45\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"sv, "a BMP image"},
      {"BM\xca\x45\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0"sv, "a BMP image"},
      {"II*\0\x08\0\0\0"sv, "a TIFF image"},
      {"MM\0*\0\0\0\x08"sv, "a TIFF image"},
      {"II+\0\x08\0\0\0"sv, "a BigTIFF image"},
      {"\0\0\0\x20\x66typavif\0\0\0\0avifmif1miafMA1B"sv, "an AVIF image"},
      {"\0\0\0\x1c\x66typmif1\0\0\0\0mif1avifmiaf"sv, "an AVIF image"},
      {"\0\0\0\x18\x66typavis\0\0\0\0msf1miaf"sv, "an AVIF image"},
      {"\0\0\0\x18\x66typheic\0\0\0\0mif1heic"sv, "a HEIC image"},
      {"\0\0\0\x18\x66typmif1\0\0\0\0mif1heic"sv, "a HEIC image"},
      {"\0\0\0\x18\x66typhevc\0\0\0\0msf1hevc"sv, "a HEIC image"},
      {"\0\0\0\x18\x66typisom\0\0\0\0isommp42"sv, "a video (MP4 or QuickTime)"},
      {"\0\0\0\x14\x66typqt  \0\0\0\0qt  "sv, "a video (MP4 or QuickTime)"},
      {"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14\x66typjp2 "sv, "a JPEG 2000 image"},
      {"\xff\x4f\xff\x51\0\x2f"sv, "a JPEG 2000 image"},
      {"\xff\x0a\xfa\x7f"sv, "a JPEG XL image"},
      {"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14\x66typjxl "sv, "a JPEG XL image"},
      {"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0"sv, "an ICO image"},
      {"\0\0\2\0\1\0\x20\x20\0\0\0\0\0\0"sv, "a mouse cursor (CUR)"},
      {"P6\n23 17\n255\n"sv, "a PPM image"},
      {"P5 23 17 255 "sv, "a PPM image"},
      {"P7\nWIDTH 23\n"sv, "a PPM image"},
      {"\0\0\2\0\0\0\0\0\0\0\0\0\x17\0\x11\0\x18\0"sv, "a TGA image"},
      {"\0\0\x0a\0\0\0\0\0\0\0\0\0\x17\0\x11\0\x20\x08"sv, "a TGA image"},
      {"8BPS\0\1"sv, "a Photoshop image"},
      {"qoif\0\0\0\x17"sv, "a QOI image"},
      {"\x76\x2f\x31\x01\2"sv, "an OpenEXR image"},
      {"\x0a\5\1\x08"sv, "a PCX image"},
      {"%PDF-1.7\n"sv, "a PDF document"},
      {"\x89PNG\n\x1a\n\0\0\0\rIHDR"sv,
       "a PNG image whose line ends were changed on the way: copy it again, as binary"},
  };
  for (const auto& [start, name] : known) EXPECT_THAT(kind(padded(start)), StartsWith(name));
  EXPECT_EQ(kind(padded("GIF89a")), "a GIF image: convert it to one of them");
  EXPECT_EQ(kind(padded("\1\2\3\4") + std::string("TRUEVISION-XFILE.\0"sv)),
            "a TGA image: convert it to one of them");
}

TEST(FileKind, WhatIsNoPicture) {
  EXPECT_EQ(kind(padded("\x1f\x8b\x08")), "gzip-compressed data: unpack it first");
  EXPECT_EQ(kind(padded("PK\x03\x04")), "a zip archive: unpack it first");
  EXPECT_EQ(kind(padded(padded("a.jpg", 257) + "ustar")), "a tar archive: give it a name that ends in .tar");
  EXPECT_EQ(kind("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
            "a git-lfs pointer: `git lfs pull` fetches the file that it stands for");
  EXPECT_EQ(kind(padded("RIFF\0\0\0\0AVI LIST"sv)), "an AVI video: it holds no picture");
  EXPECT_EQ(kind(padded("\0\x05\x16\x07\0\2\0\0"sv)),
            "macOS' notes about a file (AppleDouble): it holds no picture");
  EXPECT_EQ(kind(std::string(5, '\0')), "5 zero bytes: fetch the picture again");
  EXPECT_EQ(kind("\xc3\x28\x01"sv), "a file of an unknown kind (3 bytes)");
  EXPECT_EQ(kind("/9j/4AAQSkZJRgABAQ=="), "a JPEG image in base64: write the bytes that it encodes");
}

TEST(FileKind, Texts) {
  const std::string page = "an HTML page: its server sent a page in place of the picture";
  EXPECT_EQ(kind("<!DOCTYPE html><html><body>404</body></html>"), page);
  EXPECT_EQ(kind("\xef\xbb\xbf\r\n <!-- moved -->\n<HTML>"), page);
  EXPECT_EQ(kind("<html><svg/></html>"), page);
  EXPECT_EQ(kind("<svg xmlns='http://www.w3.org/2000/svg'/>"), "an SVG drawing: convert it to one of them");
  EXPECT_EQ(kind("<?xml version='1.0'?>\n<!-- a -->\n<svg/>"), "an SVG drawing: convert it to one of them");
  EXPECT_EQ(kind("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
            "an XML document: it holds no picture");
  EXPECT_EQ(kind("{\"error\": \"not found\"}\n"), "a text that begins with \"{\"error\": \"not found\"}\"");
  EXPECT_EQ(kind(" \n\n"), "a text of blanks: it holds no picture");
  EXPECT_EQ(kind("\xff\xfeh\0i\0"sv), "a text (UTF-16): it holds no picture");
  EXPECT_EQ(kind("caf\xe9 \xc3\xa9\tend\nmore"), "a text that begins with \"caf? ?? end\"");
}

}  // namespace
}  // namespace lapidary
