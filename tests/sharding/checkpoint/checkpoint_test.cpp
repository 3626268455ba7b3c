#include "sharding/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <numeric>
#include <thread>

#include "kernels/tensor.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> counting(size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

const char* kName = "language_model.model.norm.weight";
const char* kCanonical = "language_model.norm.weight";

TEST(Checkpoint, ReadsSlicesOfMatricesAndVectors) {
  TempFolder folder;
  const auto values = counting(24);
  write_safetensors(folder / "model.safetensors", {{"model.a", StoredType::f32, {4, 6}, values.data()},
                                                   {"b", StoredType::f32, {24}, values.data()},
                                                   {"c", StoredType::f32, {2, 3, 2, 2}, values.data()},
                                                   {"d", StoredType::f32, {}, values.data()}});
  Checkpoint checkpoint(folder.path());
  std::vector<float> out(4);
  checkpoint.read("a", {1, 3}, {2, 4}, out.data());
  EXPECT_THAT(out, ElementsAre(8, 9, 14, 15));
  checkpoint.read("b", {0, 1}, {20, 24}, out.data());
  EXPECT_THAT(out, ElementsAre(20, 21, 22, 23));
  checkpoint.read("c", {1, 2}, {8, 12}, out.data());
  EXPECT_THAT(out, ElementsAre(20, 21, 22, 23));
  checkpoint.read("d", {0, 1}, {0, 1}, out.data());
  EXPECT_EQ(out[0], 0);
  std::vector<float> rows(12);
  checkpoint.read("a", {2, 4}, {0, 6}, rows.data());
  EXPECT_EQ(rows, std::vector<float>(values.begin() + 12, values.end()));
  checkpoint.read("a", {2, 2}, {0, 6}, nullptr);
  EXPECT_EQ(checkpoint.stored_bytes(), (3 * 24 + 1) * 4);
}

TEST(Checkpoint, ConvertsHalfAndBfloat16) {
  TempFolder folder;
  const std::vector<uint16_t> halves{0x3c00, 0xc000, 0x0001, 0x7c00};  // 1, -2, 2^-24, infinity
  const std::vector<uint16_t> brains{0x3f80, 0xc000, 0x0001, 0x7f80};  // 1, -2, a subnormal, infinity
  const std::vector<float> floats{1, 1.00390625f, -2, 3};              // 1 + 2^-8 is a tie for bfloat16
  write_safetensors(folder / "model.safetensors", {{"half", StoredType::f16, {2, 2}, halves.data()},
                                                   {"brain", StoredType::bf16, {2, 2}, brains.data()},
                                                   {"float", StoredType::f32, {4}, floats.data()}});
  Checkpoint checkpoint(folder.path());
  std::vector<float> out(4);
  checkpoint.read("half", {0, 2}, {0, 2}, out.data());
  EXPECT_THAT(out, ElementsAre(1, -2, 0x1p-24f, std::numeric_limits<float>::infinity()));
  checkpoint.read("brain", {0, 2}, {0, 2}, out.data());
  EXPECT_THAT(out, ElementsAre(1, -2, 0x1p-133f, std::numeric_limits<float>::infinity()));
  std::vector<uint16_t> bits(4);
  checkpoint.read_bf16("half", {0, 2}, {0, 2}, bits.data());
  EXPECT_THAT(bits, ElementsAre(0x3f80, 0xc000, 0x3380, 0x7f80));
  checkpoint.read_bf16("brain", {0, 2}, {0, 2}, bits.data());
  EXPECT_EQ(bits, brains);
  checkpoint.read_bf16("float", {0, 1}, {0, 4}, bits.data());
  EXPECT_THAT(bits, ElementsAre(0x3f80, 0x3f80, 0xc000, 0x4040));
}

TEST(Checkpoint, GivesSlicesAsTheyAreStored) {
  TempFolder folder;
  const auto floats = counting(24);
  const std::vector<uint16_t> halves{1, 2, 3, 4, 5, 6};
  write_safetensors(folder / "model.safetensors", {{"float", StoredType::f32, {4, 6}, floats.data()},
                                                   {"half", StoredType::f16, {2, 3}, halves.data()},
                                                   {"brain", StoredType::bf16, {2, 3}, halves.data()},
                                                   {"other", StoredType::i8, {12}, halves.data()}});
  Checkpoint checkpoint(folder.path());
  EXPECT_EQ(checkpoint.stored_dtype("float"), DType::f32);
  EXPECT_EQ(checkpoint.stored_dtype("half"), DType::f16);
  EXPECT_EQ(checkpoint.stored_dtype("brain"), DType::bf16);
  EXPECT_THAT(error_of([&] { checkpoint.stored_dtype("other"); }), HasSubstr("is stored as I8"));
  std::vector<float> out(4);
  checkpoint.read_stored("float", {1, 3}, {2, 4}, reinterpret_cast<std::byte*>(out.data()));
  EXPECT_THAT(out, ElementsAre(8, 9, 14, 15));
  std::vector<uint16_t> bits(6);
  checkpoint.read_stored("half", {0, 2}, {0, 3}, reinterpret_cast<std::byte*>(bits.data()));
  EXPECT_EQ(bits, halves);
  EXPECT_FALSE(checkpoint.made("float"));
}

TEST(Checkpoint, AFileThatIsCutWhileItIsReadIsASentence) {
  TempFolder folder;
  const auto values = counting(5000);
  write_safetensors(folder / "model.safetensors", {{"a", StoredType::f32, {50, 100}, values.data()}});
  Checkpoint checkpoint(folder.path());
  std::filesystem::resize_file(folder / "model.safetensors", 9000);
  std::vector<float> out(5000);
  EXPECT_THAT(error_of([&] {
                checkpoint.read_stored("a", {0, 50}, {0, 100}, reinterpret_cast<std::byte*>(out.data()));
              }),
              HasSubstr("model.safetensors: is 9000 bytes long now"));
}

TEST(Checkpoint, RemembersWhatWasUsed) {
  TempFolder folder;
  const auto values = counting(4);
  std::vector<NamedTensor> tensors;
  for (int i = 0; i < 8; ++i) tensors.push_back({cat("model.t", i), StoredType::f32, {2, 2}, values.data()});
  tensors.push_back({"lm_head.weight", StoredType::f32, {4}, values.data()});
  write_safetensors(folder / "model.safetensors", tensors);
  Checkpoint checkpoint(folder.path());
  EXPECT_EQ(checkpoint.unused().size(), 9u);
  std::vector<float> out(2);
  checkpoint.read("t0", {0, 1}, {0, 2}, out.data());
  checkpoint.read("t0", {1, 2}, {0, 2}, out.data());
  checkpoint.ignore("lm_head.weight");
  checkpoint.ignore("not there");
  EXPECT_EQ(
      error_of([&] { checkpoint.check_all_used(); }),
      folder.path().string() + " holds 7 tensors that the model does not use: t1, t2, t3, t4, t5 and 2 more");
  for (int i = 1; i < 8; ++i) checkpoint.read(cat("t", i), {0, 1}, {0, 1}, out.data());
  checkpoint.check_all_used();
}

TEST(Checkpoint, WhatLiesElsewhereIsIgnoredByPrefixAndNothingBesideIt) {
  TempFolder folder;
  const auto values = counting(4);
  std::vector<NamedTensor> tensors;
  for (const char* name : {"layers.1.a", "layers.1.b", "layers.10.a", "layers.11.stray", "layers.1"})
    tensors.push_back({name, StoredType::f32, {4}, values.data()});
  write_safetensors(folder / "model.safetensors", tensors);
  Checkpoint checkpoint(folder.path());
  checkpoint.ignore_below("layers.1.");
  checkpoint.ignore_below("layers.10.");
  checkpoint.ignore_below("layers.2.");
  EXPECT_EQ(
      error_of([&] { checkpoint.check_all_used(); }),
      folder.path().string() + " holds 2 tensors that the model does not use: layers.11.stray, layers.1");
}

TEST(Checkpoint, RefusesUnknownNamesAndWrongSlices) {
  TempFolder folder;
  const auto values = counting(6);
  const std::vector<int8_t> bytes(6);
  write_safetensors(folder / "model.safetensors", {{kName, StoredType::f32, {2, 3}, values.data()},
                                                   {"packed.weight", StoredType::i8, {6}, bytes.data()}});
  Checkpoint checkpoint(folder.path());
  std::vector<float> out(6);
  EXPECT_THAT(error_of([&] {
                checkpoint.read("nothing", {0, 1}, {0, 1}, out.data());
              }),
              HasSubstr("holds no tensor nothing"));
  EXPECT_THAT(error_of([&] { checkpoint.shape_of(kName); }), HasSubstr("holds no tensor"));
  EXPECT_EQ(checkpoint.shape_of(kCanonical), (Shape{2, 3}));
  EXPECT_THAT(error_of([&] {
                checkpoint.read("packed.weight", {0, 1}, {0, 6}, out.data());
              }),
              HasSubstr("model.safetensors: tensor \"packed.weight\" is stored as I8"));
  EXPECT_THROW(checkpoint.read(kCanonical, {0, 3}, {0, 3}, out.data()), std::logic_error);
  EXPECT_THROW(checkpoint.read(kCanonical, {0, 2}, {-1, 3}, out.data()), std::logic_error);
  EXPECT_THROW(checkpoint.read(kCanonical, {2, 1}, {0, 3}, out.data()), std::logic_error);
}

TEST(Checkpoint, TakesOneWeightTwiceWhereTheBytesAreEqualAndRefusesItWhereTheyDiffer) {
  TempFolder folder;
  const float one = 1, two = 2;
  const auto write = [&](const float* again, Shape shape = {1}) {
    write_safetensors(folder / "model.safetensors",
                      {{kName, StoredType::f32, {1}, &one},
                       {"model.language_model.norm.weight", StoredType::f32, shape, again}});
  };
  write(&one);
  EXPECT_THAT(Checkpoint(folder.path()).names(), ElementsAre("language_model.norm.weight"));
  EXPECT_THAT(Checkpoint(folder.path()).remarks(),
              ElementsAre(HasSubstr("stores 1 tensor more than once, with the same bytes")));
  for (const auto& [again, shape] : {std::pair(&two, Shape{1}), std::pair(&one, Shape{1, 1})}) {
    write(again, shape);
    EXPECT_THAT(
        error_of([&] { Checkpoint checkpoint(folder.path()); }),
        HasSubstr(
            "model.safetensors: tensors \"language_model.model.norm.weight\" and "
            "\"model.language_model.norm.weight\" are both \"language_model.norm.weight\", and differ"));
  }
}

TEST(Checkpoint, APointerInItsPlaceIsNamed) {
  TempFolder folder;
  folder.write("model.safetensors",
               "version https://git-lfs.github.com/spec/v1\noid "
               "sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
               "size 6064484832\n");
  EXPECT_THAT(error_of([&] { Checkpoint checkpoint(folder.path()); }),
              HasSubstr("model.safetensors: is a git-lfs pointer to a file of 6064484832 bytes, not that "
                        "file: run `git lfs pull` in "));
}

TEST(Checkpoint, APipeOrAFolderInItsPlaceIsRefusedAndNotWaitedFor) {
  TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "model.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { Checkpoint checkpoint(folder.path()); }),
              HasSubstr("model.safetensors: is not a regular file"));
  std::filesystem::remove(folder / "model.safetensors");
  std::filesystem::create_directory(folder / "model.safetensors");
  EXPECT_THAT(error_of([&] { Checkpoint checkpoint(folder.path()); }),
              HasSubstr("model.safetensors: is not a regular file"));
}

TEST(Checkpoint, SaysWhatTheFolderLacks) {
  TempFolder folder;
  EXPECT_THAT(error_of([&] { Checkpoint checkpoint(folder.path()); }),
              HasSubstr("holds neither model.safetensors nor model.safetensors.index.json"));
  EXPECT_THAT(error_of([&] { Checkpoint checkpoint(folder / "absent"); }),
              HasSubstr("absent: is not a folder"));
  folder.write("pytorch_model.bin", "PK");
  EXPECT_THAT(error_of([&] { Checkpoint checkpoint(folder.path()); }),
              HasSubstr("it holds pytorch_model.bin: save the model as safetensors"));
}

/// Resident bytes of the process that are backed by files.
int64_t resident_file_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  int64_t kilobytes = 0;
  while (status >> word) {
    if (word == "RssFile:") status >> kilobytes;
  }
  return kilobytes * 1024;
}

TEST(Checkpoint, GivesReadPagesBack) {
  TempFolder folder;
  const int64_t rows = 4096, cols = 4096;  // 64 MiB
  const std::vector<float> values(static_cast<size_t>(rows * cols), 1.0f);
  write_safetensors(folder / "model.safetensors", {{"w", StoredType::f32, {rows, cols}, values.data()}});
  Checkpoint checkpoint(folder.path());
  const int64_t before = resident_file_bytes();
  int64_t most = 0;
  std::vector<uint16_t> out(static_cast<size_t>(rows * cols));
  const auto look = [&] { most = std::max(most, resident_file_bytes() - before); };
  checkpoint.read_bf16("w", {0, rows}, {0, cols}, out.data());
  look();
  for (int64_t row = 0; row < rows; row += 64) {  // bands, and the right half only
    checkpoint.read_bf16("w", {row, row + 64}, {cols / 2, cols}, out.data());
    look();
  }
  // Two chunks of 4 MiB may be pending, and the system maps a little more than was asked for.
  EXPECT_LT(most, 12 << 20);
}

TEST(Checkpoint, IsReadBySeveralThreads) {
  TempFolder folder;
  const int64_t rows = 1024, cols = 4096;  // 16 MiB: pages are given back while others read
  const auto values = counting(static_cast<size_t>(rows * cols));
  write_safetensors(folder / "model.safetensors", {{"w", StoredType::f32, {rows, cols}, values.data()}});
  Checkpoint checkpoint(folder.path());
  std::vector<float> out(values.size());
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t row = t * 8; row < rows; row += 32) {
        checkpoint.read("w", {row, row + 8}, {0, cols}, out.data() + row * cols);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(out, values);
  checkpoint.check_all_used();
}

}  // namespace
}  // namespace lapidary
