#include "sharding/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>

#include "sharding/checkpoint/safetensors_header.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string file_with(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + header + std::string(data_bytes, '\x01');
}

std::string open_error(const std::string& bytes) {
  TempFolder folder;
  const auto path = folder.write("x.safetensors", bytes);
  return error_of([&] { SafetensorsFile file(path); });
}

std::string header_error(const std::string& header, size_t data_bytes) {
  return open_error(file_with(header, data_bytes));
}

const char* kTwo =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},)"
    R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}  )";

TEST(Safetensors, MetadataMayBeNull) {
  TempFolder folder;
  const char* header = R"({"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  EXPECT_EQ(SafetensorsFile(folder.write("null.safetensors", file_with(header, 4))).tensors().size(), 1u);
}

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirBytes) {
  TempFolder folder;
  const SafetensorsFile file(folder.write("two.safetensors", file_with(kTwo, 22)));
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[0].dtype, StoredType::f32);
  EXPECT_EQ(file.tensors()[0].shape, (Shape{2, 2}));
  EXPECT_EQ(file.tensors()[0].size, 16);
  EXPECT_EQ(file.tensors()[1].data, file.tensors()[0].data + 16);
  EXPECT_EQ(file.find("b"), &file.tensors()[1]);
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST(Safetensors, DroppedPagesAreReadAgain) {
  TempFolder folder;
  const SafetensorsFile file(folder.write("two.safetensors", file_with(kTwo, 22)));
  const StoredTensor& a = *file.find("a");
  EXPECT_EQ(static_cast<int>(a.data[15]), 1);
  file.drop_pages({a.data, static_cast<size_t>(a.size)});
  EXPECT_EQ(static_cast<int>(a.data[15]), 1);
}

TEST(Safetensors, AcceptsNoTensorsScalarsAndEmptyTensors) {
  EXPECT_EQ(header_error("{}", 0), "no error");
  EXPECT_EQ(header_error(R"({"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]}})", 8), "no error");
  EXPECT_EQ(
      header_error(R"({"e":{"dtype":"F32","shape":[0,4611686018427387904,9],"data_offsets":[0,0]}})", 0),
      "no error");
  EXPECT_EQ(header_error(R"({"n":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})", 2), "no error");
}

TEST(Safetensors, RefusesAFileCutAtAnyByte) {
  const std::string whole = file_with(kTwo, 22);
  ASSERT_EQ(open_error(whole), "no error");
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(open_error(whole.substr(0, length)), "no error") << length << " bytes";
  }
  EXPECT_THAT(open_error(whole + "x"), HasSubstr("end at byte 22 of the data, but the file holds 23"));
}

TEST(Safetensors, RefusesAnyHeaderByteReplacedOrReadsItSafely) {
  const std::string whole = file_with(kTwo, 22);
  for (size_t at = 0; at + 22 < whole.size(); ++at) {
    for (char c : {'\0', '"', '}', '9', '\xff'}) {
      std::string bytes = whole;
      bytes[at] = c;
      open_error(bytes);  // must neither crash nor read outside; sanitizers watch
    }
  }
}

TEST(Safetensors, NamesFileTensorAndBothNumbers) {
  EXPECT_THAT(open_error("1234567"), HasSubstr("is 7 bytes long"));
  EXPECT_THAT(header_error(R"({"t":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}})", 20),
              AllOf(HasSubstr("x.safetensors: tensor \"t\" of shape [2, 3] and dtype F32 needs 24 bytes"),
                    HasSubstr("its offsets hold 20")));
  EXPECT_THAT(header_error(R"({"t":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}})", 20),
              HasSubstr("tensor \"t\" ends at byte 24 of the data, but the file holds 20"));
  EXPECT_THAT(header_error(R"({"t":{"dtype":"F32","shape":[6],"data_offsets":[24,0]}})", 24),
              HasSubstr("begins at byte 24 and ends before it, at 0"));
}

TEST(Safetensors, RefusesOverlapsAndHoles) {
  EXPECT_THAT(header_error(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
                           R"("b":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}})",
                           12),
              HasSubstr("tensor \"b\" begins at byte 4, inside tensor \"a\" which ends at 8"));
  EXPECT_THAT(header_error(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
                           R"("b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
                           8),
              HasSubstr("inside tensor"));
  EXPECT_THAT(header_error(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}})", 12),
              HasSubstr("bytes 0 to 4 before tensor \"a\" belong to no tensor"));
}

TEST(Safetensors, RefusesShapesThatOverflow) {
  EXPECT_THAT(
      header_error(R"({"t":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0),
      HasSubstr("needs an impossible number of bytes"));
  EXPECT_THAT(header_error(R"({"t":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0),
              HasSubstr("needs an impossible number of bytes"));
  EXPECT_THAT(header_error(R"({"t":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", 1),
              HasSubstr("impossible"));
  EXPECT_THAT(header_error(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551615]}})", 1),
              HasSubstr("data_offsets"));
}

TEST(Safetensors, RefusesWhatIsNoHeader) {
  const std::string huge("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
  EXPECT_THAT(open_error(huge), HasSubstr("the header claims 9223372036854775807 bytes, but only 2 follow"));
  for (const char* header : {"[]",
                             "7",
                             "\"x\"",
                             "{",
                             "{} x",
                             "{}{}",
                             "{\"a\":1}",
                             "{\"a\":[]}",
                             "{\"a\":null}",
                             "{\"__metadata__\":[]}",
                             "{\"__metadata__\":{\"a\":1}}",
                             "{\"__metadata__\":{\"a\":{}}}",
                             "\xff",
                             "{\"\xff\":{}}",
                             R"({"a":{}})",
                             R"({"a":{"dtype":"F32","shape":[]}})",
                             R"({"a":{"dtype":"F99","shape":[0],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":7,"shape":[0],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"F32","shape":0,"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"F32","shape":[-0.5],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"F32","shape":[[0]],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0]}})",
                             R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0,0]}})",
                             R"({"a":{"dtype":"F32","shape":[0],"data_offsets":"no"}})",
                             R"({"a":{"dtype":"F32","shape":[true],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":["F32"],"shape":[0],"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"F32","shape":{},"data_offsets":[0,0]}})",
                             R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":"y"}})",
                             R"({"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}})"}) {
    EXPECT_THAT(header_error(header, 0), HasSubstr("x.safetensors: ")) << header;
  }
}

TEST(Safetensors, RefusesANameTwice) {
  EXPECT_THAT(header_error(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                           R"("\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                           2),
              HasSubstr("names tensor \"a\" twice"));
}

TEST(Safetensors, KeepsStrangeNamesOutOfItsSentences) {
  const std::string name = "line\\nbreak" + std::string(5000, 'x');
  const std::string error = header_error("{\"" + name + "\":{}}", 0);
  EXPECT_THAT(error, HasSubstr("line?break"));
  EXPECT_LT(error.size(), 400u);
}

TEST(Safetensors, RefusesWhatIsNoRegularFile) {
  TempFolder folder;
  EXPECT_THAT(error_of([&] { SafetensorsFile file(folder / "absent"); }), HasSubstr("cannot be opened"));
  EXPECT_THAT(error_of([&] { SafetensorsFile file(folder.path()); }), HasSubstr("not a regular file"));
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { SafetensorsFile file(folder / "pipe"); }), HasSubstr("not a regular file"));
}

TEST(WriteSafetensors, IsReadBack) {
  TempFolder folder;
  const float floats[] = {1, 2, 3, 4, 5, 6};
  const int32_t ints[] = {7, 8, 9};
  const int64_t longs[] = {-1};
  const auto path = folder / "out.safetensors";
  write_safetensors(path, {{"vision.\"layers\".0", StoredType::f32, {2, 3}, floats},
                           {"ids", StoredType::i32, {3}, ints},
                           {"last", StoredType::i64, {1, 1}, longs},
                           {"none", StoredType::f32, {0}, nullptr}});
  const SafetensorsFile file(path);
  ASSERT_EQ(file.tensors().size(), 4u);
  const StoredTensor* read = file.find("vision.\"layers\".0");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->shape, (Shape{2, 3}));
  EXPECT_EQ(std::memcmp(read->data, floats, sizeof floats), 0);
  EXPECT_EQ(std::memcmp(file.find("ids")->data, ints, sizeof ints), 0);
  EXPECT_EQ(std::memcmp(file.find("last")->data, longs, sizeof longs), 0);
  for (const StoredTensor& tensor : file.tensors()) {
    const auto element = static_cast<uintptr_t>(bits_of(tensor.dtype) / 8);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data) % element, 0u) << tensor.name;
  }
}

TEST(WriteSafetensors, LeavesNothingBehindWhenItFails) {
  TempFolder folder;
  const float one = 1;
  EXPECT_THAT(error_of([&] {
                write_safetensors(folder / "no/such/x", {{"a", StoredType::f32, {1}, &one}});
              }),
              HasSubstr("no/such/x: cannot be created: No such file"));
  std::filesystem::create_directory(folder / "taken");
  EXPECT_THAT(error_of([&] {
                write_safetensors(folder / "taken", {{"a", StoredType::f32, {1}, &one}});
              }),
              HasSubstr("taken: cannot be written: it is there and is no regular file"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  EXPECT_THROW(
      write_safetensors(folder / "x", {{"a", StoredType::f32, {1}, &one}, {"a", StoredType::f32, {1}, &one}}),
      std::logic_error);
}

TEST(WriteSafetensors, SaysWhenTheDiskIsFull) {
  // Every write to this device fails as on a full disk; the temporary name beside it cannot be made, so link
  // to it.
  TempFolder folder;
  const auto path = folder / "full";
  std::filesystem::create_symlink("/dev/full", path.string() + ".tmp." + std::to_string(getpid()));
  const float one = 1;
  EXPECT_THAT(error_of([&] {
                write_safetensors(path, {{"a", StoredType::f32, {1}, &one}});
              }),
              HasSubstr("full: cannot be written: No space left on device"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace lapidary
