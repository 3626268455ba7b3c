#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "coordinator/dataset/tar_reader.h"
#include "coordinator/dataset/tar_stems.h"
#include "tests/coordinator/dataset/inputs_fixture.h"
#include "tests/support/tar_file.h"
#include "worker/images/image_source.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// Bytes that tell where they are from.
std::string bytes_of(const std::string& seed, size_t size) {
  std::string bytes;
  while (bytes.size() < size) bytes += seed + std::to_string(bytes.size());
  return bytes.substr(0, size);
}

class TarTest : public InputsFixture {
 protected:
  static std::string read(const DatasetItem& item) {
    const auto bytes = read_source(*item.images.at(0));
    return {bytes.begin(), bytes.end()};
  }
  std::string whole(const std::string& name) const {
    std::ifstream in(root_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

/// Format and compression.
class TarKinds : public TarTest, public testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(TarKinds, EveryPictureIsFoundAndReadBackByTheWorker) {
  const auto [format, filter] = GetParam();
  const bool plain = std::string(filter) == "none", ustar = std::string(format) == "ustar";
  const std::string deep = std::string(60, 'd') + "/" + std::string(60, 'e') + "/";
  const std::string far = ustar ? deep : deep + deep + std::string(120, 'f');
  const std::vector<TarFile> files{{"./", ""},
                                   {"./000001.jpg", bytes_of("one", 1)},
                                   {"000001.txt", "a caption"},
                                   {"sub/", ""},
                                   {"sub/2.seg.PNG", bytes_of("two", 512)},
                                   {"sub/._3.jpg", "resource fork"},
                                   {".git/4.jpg", "hidden"},
                                   {far + "5.webp", bytes_of("five", 100'001)},
                                   {"plain", "no image"},
                                   {"grün €.jpeg", bytes_of("six", 70'000)},
                                   {"last.jpg", bytes_of("seven", 513)}};
  const std::string extension = plain ? ".tar" : std::string(filter) == "gzip" ? ".tar.gz" : ".tar.zst";
  write_tar(root_ / ("00007" + extension), files, format, filter);
  const auto items = all({at("00007" + extension)});
  ASSERT_THAT(keys(items), ElementsAre("00007/000001", "00007/sub/2.seg", "00007/.git/4",
                                       "00007/" + far + "5", "00007/grün €", "00007/last"));
  EXPECT_EQ(left_out({at("00007" + extension)}),
            "2 files are no JPEG, PNG or WebP (1 .txt, 1 without extension), 1 hidden");
  const std::vector<size_t> which{1, 4, 6, 7, 9, 10};
  for (size_t i = 0; i < which.size(); ++i) {
    EXPECT_FALSE(items[i].error);
    EXPECT_EQ(items[i].shard, 0);
    EXPECT_EQ(items[i].images[0]->in_tar(), plain);
    EXPECT_EQ(items[i].images[0]->path(), at("00007" + extension));
    EXPECT_EQ(read(items[i]), files[which[i]].bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TarKinds,
                         testing::Values(std::pair{"ustar", "none"}, std::pair{"gnutar", "none"},
                                         std::pair{"pax", "none"}, std::pair{"ustar", "gzip"},
                                         std::pair{"gnutar", "zstd"}, std::pair{"pax", "gzip"}),
                         [](const auto& kind) {
                           return std::string(kind.param.first) + "_" + kind.param.second;
                         });

TEST_F(TarTest, ItsBytesTellWhetherItIsCompressed) {
  write_tar(root_ / "a.tar", {{"1.jpg", "squeezed"}}, "ustar", "gzip");
  write_tar(root_ / "b.tgz", {{"1.jpg", "as it is"}}, "ustar", "none");
  const auto items = all({at("a.tar"), at("b.tgz")});
  ASSERT_THAT(keys(items), ElementsAre("a/1", "b/1"));
  EXPECT_FALSE(items[0].images[0]->in_tar());
  EXPECT_TRUE(items[1].images[0]->in_tar());
  EXPECT_EQ(read(items[0]), "squeezed");
  EXPECT_EQ(read(items[1]), "as it is");
}

TEST_F(TarTest, ShardsHaveNumbersAndEndWithTheirItems) {
  write("x.png");
  write_tar(root_ / "00000.tar", {{"a.jpg", "a"}, {"b.jpg", "b"}});
  write_tar(root_ / "00001.tar", {{"readme", "none"}});
  write_tar(root_ / "00002.tar", {{"c.jpg", "c"}});
  Inputs inputs({at("{00000..00002}.tar"), at("x.png")}, InputRules{{"p", "q"}, false, {}});
  ASSERT_EQ(inputs.shards().size(), 3u);
  EXPECT_EQ(inputs.shards()[2].stem, "00002");
  EXPECT_EQ(inputs.shards()[2].number, 2);
  std::vector<std::string> told;
  while (const auto item = inputs.next()) {
    for (const Shard& shard : inputs.ended_shards())
      told.push_back(shard.stem + "=" + std::to_string(shard.items));
    told.push_back(fs::path(item->key).filename().string() + std::to_string(item->shard));
  }
  EXPECT_THAT(told, ElementsAre("a0", "a0", "b0", "b0", "00000=4", "00001=0", "c2", "c2", "00002=2",
                                "x.png-1", "x.png-1"));
  EXPECT_TRUE(inputs.ended_shards().empty());
}

TEST_F(TarTest, KeysStayApart) {
  write_tar(root_ / "t/0.tar", {{"1.jpg", "a"}, {"1.png", "b"}, {"1.webp", "c"}, {"2.png", "d"}});
  write_tar(root_ / "v/0.tar", {{"1.jpg", "e"}});
  EXPECT_THAT(keys({at("?/0.tar"), at("v/0.tar")}),
              ElementsAre("t/0/1", "t/0/1.png", "t/0/1.webp", "t/0/2", "v/0/1", "v/0~2/1"));
}

TEST_F(TarTest, NamesThatRepeatLeadElsewhereOrAreNoUtf8) {
  write_tar(root_ / "t.tar",
            {{"a.jpg", "1"}, {"b.jpg", "2"}, {"a.jpg", "3"}, {"a.png", "4"}, {"a.jpg", "5"}});
  EXPECT_THAT(keys({at("t.tar")}), ElementsAre("t/a", "t/b", "t/a#2", "t/a.png", "t/a.jpg"));
  write_tar(root_ / "u.tar", {{"././b.jpg", "1"},
                              {"/abs/c.jpg", "2"},
                              {"../up/d.jpg", "3"},
                              {"x/../e.jpg", "4"},
                              {"a//i.jpg", "5"},
                              {".cache/h.jpg", "6"},
                              {"v1.2/plain", "\xff\xd8\xff."}});
  EXPECT_THAT(keys({at("u.tar")}),
              ElementsAre("u/b", "u/abs/c", "u/../up/d", "u/x/../e", "u/a//i", "u/.cache/h", "u/v1.2/plain"));
  for (const DatasetItem& item : all({at("u.tar")})) EXPECT_FALSE(read(item).empty());
  write_tar(root_ / "n.tar",
            {{"caf\xe9.jpg", "1"}, {"caf\xe8.jpg", "2"}, {"\xff\xfe.jpg", "3"}, {"ok \xc3\xa9.jpg", "4"}});
  const auto items = all({at("n.tar")});
  EXPECT_THAT(keys(items), ElementsAre("n/caf\\xe9", "n/caf\\xe8", "n/\\xff\\xfe", "n/ok \xc3\xa9"));
  EXPECT_EQ(read(items[1]), "2");
}

TEST_F(TarTest, EveryCompressionByItsBytes) {
  for (const char* filter : {"gzip", "bzip2", "xz", "zstd", "lz4"}) {
    for (const char* extension : {".tar", ".tar.bz2", ".TGZ", ".tar.lz4"}) {
      const std::string name = std::string("c") + extension;
      write_tar(root_ / name, {{"1.jpg", "one"}, {"2.txt", "text"}, {"3", "\xff\xd8\xff three"}}, "ustar",
                filter);
      const auto items = all({at(name)});
      ASSERT_THAT(keys(items), ElementsAre("c/1", "c/3")) << filter << extension;
      EXPECT_EQ(read(items[0]), "one");
      EXPECT_EQ(read(items[1]), "\xff\xd8\xff three");
    }
  }
}

TEST_F(TarTest, TarsOfAFolderAreReadBehindItsPictures) {
  write("f/z.jpg");
  write("f/00000.json");
  write_tar(root_ / "f/00001.tar", {{"a.jpg", "a"}});
  write_tar(root_ / "f/deep/00000.tar.gz", {{"a.jpg", "b"}}, "ustar", "gzip");
  EXPECT_THAT(keys({at("f")}), ElementsAre("z.jpg", "00001/a", "00000/a"));
  EXPECT_EQ(left_out({at("f")}), "1 file is no JPEG, PNG or WebP (1 .json)");
  fs::remove(root_ / "f/z.jpg");
  Inputs inputs({at("f")});
  ASSERT_EQ(inputs.shards().size(), 2u);
  write_tar(root_ / "f/late.tar", {{"a.jpg", "c"}});
  const auto items = rest(inputs);
  ASSERT_THAT(keys(items), ElementsAre("late.tar", "00001/a", "00000/a"));
  EXPECT_THAT(*items[0].error, HasSubstr("name it as an input"));
}

TEST_F(TarTest, OneBadTarOfThreeIsAnItemUnlessStrict) {
  write_tar(root_ / "a.tar", {{"1.jpg", "a"}});
  write("bad.tar", std::string(3000, 'x'));
  write_tar(root_ / "c.tar", {{"1.txt", "c"}});
  const Strings three{at("a.tar"), at("bad.tar"), at("c.tar")};
  const auto items = all(three);
  ASSERT_THAT(keys(items), ElementsAre("a/1", "bad.tar"));
  EXPECT_TRUE(items[1].broken_source);
  EXPECT_THAT(refusal(three, true), AllOf(HasSubstr("bad.tar"), HasSubstr("no tar")));
  EXPECT_EQ(left_out(three), "1 file is no JPEG, PNG or WebP (1 .txt), 1 tar has no picture");
}

TEST_F(TarTest, ATarReplacedOnTheWayGivesNoOtherPicture) {
  write_tar(root_ / "r.tar", {{"1.jpg", "one"}, {"2.jpg", "two"}});
  const auto items = all({at("r.tar")});
  write_tar(root_ / "r.tar", {{"1.jpg", "one"}, {"3.jpg", "two"}});
  EXPECT_EQ(read(items[0]), "one");
  EXPECT_THROW(read(items[1]), Error);
  write_tar(root_ / "r.tar", {{"1.jpg", "one!"}, {"2.jpg", "two"}});
  EXPECT_THROW(read(items[0]), Error);
  EXPECT_EQ(read(items[1]), "two");
}

TEST_F(TarTest, Stems) {
  EXPECT_THAT(tar_stems({"x/0.tar", "x/1.tar.gz", "y/2.TAR"}), ElementsAre("0", "1", "2"));
  EXPECT_THAT(tar_stems({"x/0.tar", "./y/../y/0.tar", "x/1.tar"}), ElementsAre("x/0", "y/0", "1"));
  EXPECT_THAT(tar_stems({"/a/x/0.tar", "/b/x/0.tar", "/0.tar", "/b/z/0.tar"}),
              ElementsAre("a/x/0", "b/x/0", "0", "z/0"));
  EXPECT_THAT(tar_stems({"0.tar", "0.tgz", "0~2.tar", "0.tar"}), ElementsAre("0", "0~3", "0~2", "0~4"));
}

TEST_F(TarTest, LinksAndEmptyFilesAreItemsWithErrors) {
  for (const char* filter : {"none", "gzip"}) {
    write_tar(root_ / "l.tar", {{"1.jpg", "a"}, {"2.jpg", "", "1.jpg"}, {"3.jpg", ""}, {"4.jpg", "b"}},
              "ustar", filter);
    const auto items = all({at("l.tar")}, {"p", "q"});
    ASSERT_THAT(keys(items), ElementsAre("l/1", "l/1", "l/2", "l/3", "l/4", "l/4"));
    EXPECT_THAT(*items[2].error, AllOf(HasSubstr("l.tar: 2.jpg"), HasSubstr("a link")));
    EXPECT_THAT(*items[3].error, AllOf(HasSubstr("l.tar: 3.jpg"), HasSubstr("empty")));
  }
}

TEST_F(TarTest, TooLargeForAMessageIsAnError) {
  const std::string huge(kMaxEntryBytes + 1, '\0');
  write_tar(root_ / "h.tar.zst", {{"1.jpg", huge}, {"2.jpg", "small"}}, "ustar", "zstd");
  const auto items = all({at("h.tar.zst")});
  ASSERT_THAT(keys(items), ElementsAre("h/1", "h/2"));
  EXPECT_THAT(*items[0].error, AllOf(HasSubstr("50331649 bytes"), HasSubstr("50331648")));
}

TEST_F(TarTest, CutOffAnywhereGivesWhatIsWholeAndThenOneError) {
  write_tar(root_ / "w.tar",
            {{"1.jpg", bytes_of("a", 600)}, {"2.jpg", bytes_of("b", 40'000)}, {"3.jpg", "c"}});
  const std::string bytes = whole("w.tar");
  // Headers at 0, 1536 and 42496; the data of 3.jpg is one byte at 43008.
  for (const auto& [size, pictures] : std::vector<std::pair<size_t, size_t>>{{513, 0},
                                                                             {1111, 0},
                                                                             {1112, 1},
                                                                             {1536, 1},
                                                                             {1600, 1},
                                                                             {2048, 1},
                                                                             {30'000, 1},
                                                                             {42'047, 1},
                                                                             {42'048, 2},
                                                                             {42'496, 2},
                                                                             {42'600, 2},
                                                                             {43'008, 2}}) {
    write("w/s.tar", bytes.substr(0, size));
    if (size < 1112) {  // its first header says so already at the door
      EXPECT_THAT(refusal({at("w/s.tar")}), HasSubstr("cut off after " + std::to_string(size))) << size;
      continue;
    }
    const auto items = all({at("w/s.tar"), at("w.tar")});
    ASSERT_EQ(items.size(), pictures + 1 + 3) << size;
    EXPECT_EQ(items[pictures].key, "s.tar") << size;
    EXPECT_TRUE(items[pictures].error) << size;
    EXPECT_FALSE(items[pictures - 1].error) << size;
    EXPECT_EQ(items[pictures].shard, 0);
    EXPECT_EQ(items.back().key, "w/3");
  }
}

TEST_F(TarTest, ACompressedOneCutOffIsAnErrorToo) {
  std::vector<TarFile> files;
  std::string noise(50'000, '\0');
  uint32_t state = 1;
  for (char& c : noise) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  for (int i = 0; i < 10; ++i) files.push_back({std::to_string(i) + ".jpg", noise});
  write_tar(root_ / "w.tar.gz", files, "ustar", "gzip");
  const std::string bytes = whole("w.tar.gz");
  write("s.tar.gz", bytes.substr(0, bytes.size() / 2));
  const auto items = all({at("s.tar.gz")});
  ASSERT_GT(items.size(), 1u);
  ASSERT_LT(items.size(), 10u);
  EXPECT_EQ(items.back().key, "s.tar.gz");
  EXPECT_THAT(*items.back().error, HasSubstr("broken after"));
  for (size_t i = 0; i + 1 < items.size(); ++i) EXPECT_EQ(read(items[i]), noise);
}

TEST_F(TarTest, ADamagedHeaderEndsIt) {
  write_tar(root_ / "d.tar", {{"1.jpg", "a"}, {"2.jpg", "b"}, {"3.jpg", "c"}});
  std::string bytes = whole("d.tar");
  bytes[1024] ^= 1;
  write("d.tar", bytes);
  const auto items = all({at("d.tar")});
  ASSERT_THAT(keys(items), ElementsAre("d/1", "d.tar"));
  EXPECT_THAT(*items[1].error, AllOf(HasSubstr("d.tar"), HasSubstr("broken after 1 entries")));
}

TEST_F(TarTest, WhatIsNoTarIsRefusedAtTheDoor) {
  EXPECT_THAT(refusal({write("a.tar", std::string(3000, 'x'))}),
              AllOf(HasSubstr("a.tar"), HasSubstr("no tar")));
  EXPECT_THAT(refusal({write("b.tar", "")}), AllOf(HasSubstr("b.tar"), HasSubstr("no tar")));
  EXPECT_THAT(refusal({write("c.tar.gz", "\x1f\x8b nonsense")}), HasSubstr("c.tar.gz"));
  EXPECT_THAT(refusal({write("d.tar", "short")}), HasSubstr("d.tar"));
  EXPECT_EQ(refusal({write("zeros.tar", std::string(1024, '\0'))}), "");
  EXPECT_TRUE(all({at("zeros.tar")}).empty());
  write_tar(root_ / "e0.tar", {{"1.jpg", "a"}});
  EXPECT_THAT(refusal({at("e{0..1}.tar")}), HasSubstr("e1.tar: no such file"));
}

TEST_F(TarTest, ATarThatGoesAwayIsAnItemWithAnError) {
  write_tar(root_ / "0.tar", {{"1.jpg", "a"}});
  write_tar(root_ / "1.tar", {{"1.jpg", "a"}});
  Inputs inputs({at("{0..1}.tar")});
  fs::remove(root_ / "1.tar");
  const auto items = rest(inputs);
  ASSERT_THAT(keys(items), ElementsAre("0/1", "1.tar"));
  EXPECT_THAT(*items[1].error, HasSubstr("No such file"));
  const auto ended = inputs.ended_shards();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[1].items, 1);
}

}  // namespace
}  // namespace lapidary
