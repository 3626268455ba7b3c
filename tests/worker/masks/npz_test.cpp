#include "worker/masks/npz.h"

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

std::string npy(const std::string& dtype, bool fortran, const std::string& shape,
                const std::vector<float>& values) {
  const std::string dictionary = "{'descr': '" + dtype +
                                 "', 'fortran_order': " + (fortran ? "True" : "False") +
                                 ", 'shape': " + shape + ", }\n";
  std::string bytes =
      std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(dictionary.size()) + '\0' + dictionary;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return bytes;
}

using Entries = std::vector<std::pair<std::string, std::string>>;

std::string zip_of(const Entries& entries, const char* compression = "store") {
  std::string bytes(1 << 20, '\0');
  size_t used = 0;
  archive* zip = archive_write_new();
  archive_write_set_format_zip(zip);
  archive_write_set_format_option(zip, "zip", "compression", compression);
  archive_write_open_memory(zip, bytes.data(), bytes.size(), &used);
  for (const auto& [name, data] : entries) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, static_cast<int64_t>(data.size()));
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_write_header(zip, entry);
    archive_write_data(zip, data.data(), data.size());
    archive_entry_free(entry);
  }
  archive_write_close(zip);
  archive_write_free(zip);
  return bytes.substr(0, used);
}

const ArrayShapes kWanted = {{"a", {2, 3}}, {"b", {2}}};
const Entries kGood = {{"a.npy", npy("<f4", false, "(2, 3)", {1, 2, 3, 4, 5, 6})},
                       {"other.npy", "whatever it is"},
                       {"b.npy", npy("<f4", false, "(2,)", {7, -8})}};

class NpzTest : public testing::Test {
 protected:
  FloatArrays read(const std::string& bytes) { return read_npz(folder_.write("x.npz", bytes), kWanted); }
  std::string error(const std::string& bytes) {
    return error_of([&] { read(bytes); });
  }
  std::string error_with(size_t entry, const std::string& data) {
    Entries entries = kGood;
    entries[entry].second = data;
    return error(zip_of(entries));
  }
  void expect_in(const std::string& text, const std::string& error) {
    EXPECT_NE(error.find(text), std::string::npos) << error;
  }
  TempFolder folder_;
};

TEST_F(NpzTest, StoredOrPackedInEitherOrder) {
  for (const char* compression : {"store", "deflate"}) {
    const FloatArrays arrays = read(zip_of(kGood, compression));
    EXPECT_EQ(arrays.size(), 2u);
    EXPECT_EQ(arrays.at("a"), (std::vector<float>{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(arrays.at("b"), (std::vector<float>{7, -8}));
  }
  Entries turned = kGood;
  turned[0].second = npy("<f4", true, "(2, 3)", {1, 4, 2, 5, 3, 6});
  EXPECT_EQ(read(zip_of(turned)).at("a"), (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST_F(NpzTest, WrongArraysAreNamedWithBothShapes) {
  expect_in("x.npz: the array a has the shape [3, 2], expected [2, 3]",
            error_with(0, npy("<f4", false, "(3, 2)", {1, 2, 3, 4, 5, 6})));
  expect_in("the array b has the shape [], expected [2]", error_with(2, npy("<f4", false, "()", {1})));
  expect_in("the array b holds numbers of type <f8, expected <f4 (float32)",
            error_with(2, npy("<f8", false, "(2,)", {1, 2, 3, 4})));
  expect_in("the array a ends after 20 of 24 bytes",
            error_with(0, npy("<f4", false, "(2, 3)", {1, 2, 3, 4, 5})));
  expect_in("the array b goes on behind its 8 bytes", error_with(2, npy("<f4", false, "(2,)", {1, 2, 3})));
  expect_in("the array b is no array as numpy saves it", error_with(2, "nothing of the kind"));
  expect_in("the array b is no array as numpy saves it", error_with(2, ""));
  Entries fewer(kGood.begin(), kGood.begin() + 2);
  expect_in("x.npz: has no array b, expected one of the shape [2]", error(zip_of(fewer)));
  Entries twice = kGood;
  twice.push_back(kGood[0]);
  expect_in("holds the array a twice", error(zip_of(twice)));
}

TEST_F(NpzTest, FilesOfAnotherKind) {
  for (const std::string& bytes : {std::string("no zip at all, but long enough to be asked about its kind"),
                                   std::string(), kGood[0].second, std::string(5000, '\0')})
    EXPECT_NE(error(bytes), "no error");
  expect_in("is no file of arrays as numpy's savez writes it", error("PK\x03\x04 not quite"));
  expect_in("no such file", error_of([&] { read_npz(folder_ / "absent.npz", kWanted); }));
  expect_in("is no regular file", error_of([&] { read_npz(folder_.path(), kWanted); }));
}

/// Cut or damaged anywhere, a file gives its arrays or a sentence, and never other numbers: the zip has sums.
TEST_F(NpzTest, DamagedFiles) {
  for (const char* compression : {"store", "deflate"}) {
    const std::string good = zip_of(kGood, compression);
    const auto check = [&](const std::string& bytes) {
      try {
        const FloatArrays arrays = read(bytes);
        EXPECT_EQ(arrays.at("a"), (std::vector<float>{1, 2, 3, 4, 5, 6}));
        EXPECT_EQ(arrays.at("b"), (std::vector<float>{7, -8}));
      } catch (const Error&) {
      }
    };
    for (size_t at = 0; at < good.size(); ++at) {
      std::string damaged = good;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
      check(at % 2 == 0 ? damaged : good.substr(0, at));
    }
  }
}

}  // namespace
}  // namespace lapidary
