#include "worker/images/image_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <bit>

#include <fstream>

#include "tests/support/error_text.h"
#include "tests/support/tar_file.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

wire::ImageSource file_source(const std::filesystem::path& path) {
  wire::ImageSource source;
  source.set_path(path.string());
  return source;
}

wire::ImageSource tar_source(const std::filesystem::path& path, int64_t offset) {
  wire::ImageSource source = file_source(path);
  source.set_in_tar(true);
  source.set_offset(offset);
  return source;
}

std::string text_of(const wire::ImageSource& source) {
  const auto bytes = read_source(source);
  return {bytes.begin(), bytes.end()};
}

std::string error_for(const wire::ImageSource& source, int64_t limit = kMaxPictureBytes) {
  return error_of([&] { read_source(source, {.max_bytes = limit}); });
}

/// Bytes of all values, no two the same.
std::string bytes_of_size(size_t size, unsigned seed) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes += static_cast<char>((i * 2654435761u + seed) >> 7);
  return bytes;
}

TEST(ImageSource, AFileIsReadWhole) {
  const TempFolder folder;
  const std::string bytes = bytes_of_size(300'001, 1);
  EXPECT_EQ(text_of(file_source(folder.write("a picture.jpg", bytes))), bytes);
  EXPECT_EQ(text_of(file_source(folder.write("empty.jpg", ""))), "");
}

TEST(ImageSource, GivenBytesAreTakenAsTheyAre) {
  wire::ImageSource source = file_source("/nowhere/uploaded.png");
  source.set_data("bytes\0of it", 11);
  EXPECT_EQ(text_of(source), std::string("bytes\0of it", 11));
  EXPECT_EQ(error_for(source, 10),
            "/nowhere/uploaded.png: has 11 bytes, more than the limit of 10 for an image file");
}

TEST(ImageSource, EachEntryOfATarIsReadFromItsHeaders) {
  for (const char* format : {"ustar", "pax", "gnutar"}) {
    const TempFolder folder;
    TarWriter tar(folder / "shard.tar", format);
    // Names that no plain header holds: they come in headers of their own before it.
    const std::string deep = cat(std::string(70, 'd'), "/", std::string(70, 'e'), "/");
    std::vector<std::pair<int64_t, std::string>> entries;
    for (const size_t size : {size_t{0}, size_t{1}, size_t{512}, size_t{513}, size_t{200'000}}) {
      for (const std::string& name : {cat(size, ".jpg"), deep + cat(size, ".jpg")}) {
        const std::string bytes = bytes_of_size(size, static_cast<unsigned>(name.size()));
        entries.emplace_back(tar.add({name, bytes}), bytes);
      }
    }
    tar.close();
    for (const auto& [offset, bytes] : entries)
      EXPECT_EQ(text_of(tar_source(folder / "shard.tar", offset)), bytes) << "at " << offset;
  }
}

TEST(ImageSource, ErrorsNameTheFileAndTheEntry) {
  const TempFolder folder;
  const auto path = folder / "shard.tar";
  TarWriter tar(path);
  const int64_t dog = tar.add({"dog.jpg", bytes_of_size(100'000, 3)});
  const int64_t sub = tar.add({"sub/"});
  const int64_t link = tar.add({"twin.jpg", "", "dog.jpg", true});
  tar.close();
  const std::string text = path.string();

  EXPECT_EQ(
      error_for(tar_source(path, dog), 99'999),
      text + " (entry at byte 0): dog.jpg: has 100000 bytes, more than the limit of 99999 for an image file");
  EXPECT_EQ(error_for(tar_source(path, sub)),
            text + cat(" (entry at byte ", sub, "): sub/: not a regular file"));
  EXPECT_EQ(error_for(tar_source(path, link)),
            text + cat(" (entry at byte ", link, "): twin.jpg: not a regular file"));
  EXPECT_THAT(error_for(tar_source(path, 1024)),
              AllOf(StartsWith(text + " (entry at byte 1024): "), HasSubstr("no entry")));
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  EXPECT_THAT(error_for(tar_source(path, size - 1024)), HasSubstr("no entry begins here"));
  for (const int64_t beyond : {size, size + 1, int64_t{-1}})
    EXPECT_THAT(error_for(tar_source(path, beyond)), HasSubstr(cat("the file has only ", size, " bytes")));

  std::filesystem::resize_file(path, 50'000);
  EXPECT_THAT(error_for(tar_source(path, dog)), AllOf(StartsWith(text + " (entry at byte 0): dog.jpg: ")));
}

TEST(ImageSource, WhatIsNoFileIsRefused) {
  const TempFolder folder;
  EXPECT_EQ(error_for(file_source(folder / "gone.jpg")), (folder / "gone.jpg").string() + ": no such file");
  EXPECT_EQ(error_for(file_source(folder.path())), folder.path().string() + ": a folder, not an image");
  EXPECT_EQ(error_for(tar_source(folder / "gone.tar", 512)),
            (folder / "gone.tar").string() + " (entry at byte 512): no such file");
  // Nobody writes to it: to open it in the ordinary way would wait forever.
  ASSERT_EQ(mkfifo((folder / "pipe.jpg").c_str(), 0600), 0);
  EXPECT_EQ(error_for(file_source(folder / "pipe.jpg")),
            (folder / "pipe.jpg").string() + ": not a regular file");
  EXPECT_EQ(error_for({}), "image: no such file");
}

TEST(ImageSource, AHugeFileIsRefusedBeforeMemoryIsTaken) {
  const TempFolder folder;
  const auto path = folder.write("huge.jpg", "");
  std::filesystem::resize_file(path, uintmax_t{1} << 40);  // a hole of a TiB
  EXPECT_EQ(error_for(file_source(path)),
            path.string() + ": has 1099511627776 bytes, more than the limit of 1073741824 for an image file");
}

TEST(ImageSource, TheHashIsThatOfTheBytes) {
  const auto hash = [](const std::string& text) {
    return content_hash({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  // The first 16 of the 64 bytes that RFC 7693, appendix A, has for BLAKE2b of "abc".
  const std::array<uint8_t, 16> abc{0xba, 0x80, 0xa5, 0x3f, 0x98, 0x1c, 0x4d, 0x0d,
                                    0x6a, 0x27, 0x97, 0xb6, 0x9f, 0x12, 0xf6, 0xe9};
  EXPECT_EQ(hash("abc"), std::bit_cast<ContentHash>(abc));
  EXPECT_EQ(hash("same"), hash("same"));
  EXPECT_NE(hash("same"), hash("sama"));
}

}  // namespace
}  // namespace lapidary
