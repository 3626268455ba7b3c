#include "coordinator/records/fingerprint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <random>

#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

std::string safetensors(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), 0);
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

std::string random_bytes(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes(count, 0);
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

TEST(Fingerprint, TwoFineTunesOfOneSizeDiffer) {
  const TempFolder folder;
  folder.write("config.json", "{}");
  folder.write("model.safetensors", safetensors("{}", random_bytes(3'000'000, 1)));
  const std::string first = fingerprint_of_model(folder.path());
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(fingerprint_of_model(folder.path()), first);
  folder.write("model.safetensors", safetensors("{}", random_bytes(3'000'000, 2)));
  EXPECT_NE(fingerprint_of_model(folder.path()), first);
}

TEST(Fingerprint, TheBulkOfOneTensorAmongEqualsCounts) {
  const TempFolder folder;
  folder.write("config.json", "{}");
  std::string data = random_bytes(3'000'000, 1);
  folder.write("model.safetensors", safetensors("{}", data));
  const std::string first = fingerprint_of_model(folder.path());
  // A tenth of the file, wherever it is.
  for (size_t at = 0; at < data.size(); at += data.size() / 10) {
    std::string tuned = data;
    for (size_t i = at; i < std::min(data.size(), at + data.size() / 10); ++i)
      tuned[i] = static_cast<char>(~tuned[i]);
    folder.write("model.safetensors", safetensors("{}", tuned));
    EXPECT_NE(fingerprint_of_model(folder.path()), first) << at;
  }
  data.back() = static_cast<char>(~data.back());
  folder.write("model.safetensors", safetensors("{}", data));
  EXPECT_NE(fingerprint_of_model(folder.path()), first);
}

TEST(Fingerprint, HeaderNamesAndConfigCount) {
  const TempFolder folder;
  folder.write("config.json", "{}");
  const std::string data = random_bytes(1000, 1);
  folder.write("a.safetensors", safetensors("{\"x\": 1}", data));
  const std::string first = fingerprint_of_model(folder.path());
  folder.write("a.safetensors", safetensors("{\"x\": 2}", data));
  const std::string header = fingerprint_of_model(folder.path());
  EXPECT_NE(header, first);
  std::filesystem::rename(folder / "a.safetensors", folder / "b.safetensors");
  const std::string name = fingerprint_of_model(folder.path());
  EXPECT_NE(name, header);
  folder.write("config.json", "{ }");
  EXPECT_NE(fingerprint_of_model(folder.path()), name);
  EXPECT_NE(fingerprint_of_model(folder / "config.json"), fingerprint_of_model(folder.path()));
}

TEST(Fingerprint, ABrokenOrEmptyFileOfWeightsHasOneToo) {
  const TempFolder folder;
  folder.write("config.json", "{}");
  folder.write("a.safetensors", "");
  const std::string empty = fingerprint_of_model(folder.path());
  folder.write("a.safetensors", std::string(9, '\xff'));
  EXPECT_NE(fingerprint_of_model(folder.path()), empty);
}

TEST(Fingerprint, AModelThatCannotBeReadIsNamed) {
  const TempFolder folder;
  EXPECT_EQ(error_of([&] { fingerprint_of_model(folder.path()); }),
            "cannot read " + (folder / "config.json").string());
  EXPECT_EQ(error_of([&] { fingerprint_of_model(folder / "none"); }),
            "cannot read " + (folder / "none").string());
}

TEST(Fingerprint, TextsDiffer) {
  EXPECT_EQ(fingerprint_of_text("a"), fingerprint_of_text("a"));
  EXPECT_NE(fingerprint_of_text("a"), fingerprint_of_text("b"));
  EXPECT_EQ(fingerprint_of_text("").size(), 32u);
}

TEST(Fingerprint, ShardsInFoldersBelowCountAndAPipeIsNotWaitedFor) {
  TempFolder folder;
  folder.write("config.json", "{}");
  const std::string none = fingerprint_of_model(folder.path());
  ASSERT_EQ(mkfifo((folder / "pipe.safetensors").c_str(), 0600), 0);
  EXPECT_EQ(fingerprint_of_model(folder.path()), none);
  std::filesystem::create_directory(folder / "parts");
  folder.write("parts/a.safetensors", std::string(100, 'a'));
  const std::string first = fingerprint_of_model(folder.path());
  EXPECT_NE(first, none);
  EXPECT_EQ(fingerprint_of_model(folder.path().string() + "/"), first);
  folder.write("parts/a.safetensors", std::string(100, 'b'));
  EXPECT_NE(fingerprint_of_model(folder.path()), first);
}

}  // namespace
}  // namespace lapidary
