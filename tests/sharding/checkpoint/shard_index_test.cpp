#include "sharding/checkpoint/shard_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sharding/checkpoint/checkpoint.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

/// Two shards of one tensor each, the second in a folder of its own, and an index of the caller's.
class ShardedCheckpoint : public testing::Test {
 protected:
  ShardedCheckpoint() {
    std::filesystem::create_directory(folder_ / "parts");
    write("s1.safetensors", "a", values_);
    write("parts/s2.safetensors", "model.b", values_);
  }
  void write(const std::string& file, const std::string& tensor, const std::vector<float>& values) const {
    write_safetensors(folder_ / file, {{tensor, StoredType::f32, {4}, values.data()}});
  }
  /// The remark where both tensors can be read, else the error.
  std::string after(const std::string& index) const {
    folder_.write("model.safetensors.index.json", index);
    std::string remark = "no remark";
    const std::string error = error_of([&] {
      Checkpoint checkpoint(folder_.path());
      for (const std::string& said : checkpoint.remarks()) remark = said;
      std::vector<float> out(4);
      checkpoint.read("a", {0, 1}, {0, 4}, out.data());
      checkpoint.read("b", {0, 1}, {0, 4}, out.data());
      EXPECT_EQ(out, values_);
      checkpoint.check_all_used();
    });
    return error == "no error" ? remark : error;
  }

  TempFolder folder_;
  const std::vector<float> values_{0, 1, 2, 3};
};

TEST_F(ShardedCheckpoint, IsReadByItsIndex) {
  EXPECT_EQ(after(R"({"metadata":{"total_size":32},)"
                  R"("weight_map":{"a":"s1.safetensors","model.b":"parts/s2.safetensors"}})"),
            "no remark");
  EXPECT_EQ(after(R"({"weight_map":{"a":"./s1.safetensors","model.b":"parts/../parts/s2.safetensors"}})"),
            "no remark");
}

TEST_F(ShardedCheckpoint, TheShardsCountWhereTheIndexIsWrong) {
  EXPECT_THAT(
      after(R"({"weight_map":{"a":"parts/s2.safetensors","model.b":"s1.safetensors"}})"),
      HasSubstr(
          "model.safetensors.index.json is wrong about where 2 tensors are; the shards themselves count: "
          "\"a\", \"model.b\""));
  EXPECT_THAT(after(R"({"weight_map":{"a":"s1.safetensors","c":"parts/s2.safetensors"}})"),
              HasSubstr("wrong about where 2 tensors are; the shards themselves count: \"c\", \"model.b\""));
}

TEST_F(ShardedCheckpoint, ATensorInTwoShardsIsReadWhereBothAreEqual) {
  write("s3.safetensors", "a", values_);
  const char* index =
      R"({"weight_map":{"a":"s1.safetensors","model.b":"parts/s2.safetensors","x":"s3.safetensors"}})";
  EXPECT_THAT(after(index), HasSubstr("stores 1 tensor more than once, with the same bytes: \"a\""));
  write("s3.safetensors", "a", {0, 1, 2, 4});
  EXPECT_THAT(after(index), HasSubstr("s3.safetensors: tensor \"a\" is also in "));
}

TEST_F(ShardedCheckpoint, WhatIsNotThereOrLeadsOutIsRefused) {
  EXPECT_THAT(after(R"({"weight_map":{"a":"s1.safetensors","model.b":"s3.safetensors"}})"),
              HasSubstr("names the shard s3.safetensors, which is not there"));
  EXPECT_THAT(after(R"({"weight_map":{"a":"s1.safetensors"}})"), HasSubstr("holds no tensor b"));
  EXPECT_THAT(after(R"({"weight_map":{}})"), HasSubstr("weight_map"));
  EXPECT_THAT(after("{}"), HasSubstr("weight_map"));
  EXPECT_THAT(after(R"({"weight_map":{"a":1}})"), HasSubstr("model.safetensors.index.json"));
  EXPECT_THAT(after("nonsense"), HasSubstr("model.safetensors.index.json"));
  for (const char* name :
       {"../s1.safetensors", "/etc/passwd", "parts/../../s1.safetensors", "..", ".", "", "parts/"})
    EXPECT_THAT(
        after(std::string(R"({"weight_map":{"a":")") + name + R"("}})"),
        HasSubstr(std::string("\"") + name + "\", not the name of a file in the same folder or below it"));
}

}  // namespace
}  // namespace lapidary
