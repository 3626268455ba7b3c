#include "worker/masks/npy.h"

#include <gtest/gtest.h>

#include "tests/support/error_text.h"

namespace lapidary {
namespace {

using Bytes = std::vector<uint8_t>;

/// Version 1 has 2 bytes for the length, 2 and 3 have 4.
Bytes npy(const std::string& dictionary, int version = 1) {
  Bytes bytes{0x93, 'N', 'U', 'M', 'P', 'Y', static_cast<uint8_t>(version), 0};
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    bytes.push_back(static_cast<uint8_t>(dictionary.size() >> (8 * i)));
  bytes.insert(bytes.end(), dictionary.begin(), dictionary.end());
  return bytes;
}

TEST(Npy, HeadersAsNumpyWritesThem) {
  for (const int version : {1, 2, 3}) {
    const Bytes bytes =
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (128, 512), }         \n", version);
    const NpyHeader header = parse_npy_header(bytes);
    EXPECT_EQ(header.dtype, "<f4");
    EXPECT_FALSE(header.fortran_order);
    EXPECT_EQ(header.shape, (std::vector<int64_t>{128, 512}));
    EXPECT_EQ(header.bytes, bytes.size());
    EXPECT_EQ(npy_header_bytes(bytes), bytes.size());
  }
  EXPECT_EQ(parse_npy_header(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (7,), }\n")).shape,
            std::vector<int64_t>{7});
  EXPECT_TRUE(parse_npy_header(npy("{'shape': (), 'fortran_order': True, 'descr': '<f8'}")).shape.empty());
  EXPECT_EQ(parse_npy_header(npy("{\"shape\":(2,3),\"descr\":\"<f4\",\"fortran_order\":False}")).dtype,
            "<f4");
}

TEST(Npy, WhatIsNoHeaderIsASentence) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  const auto error = [](const Bytes& bytes) { return error_of([&] { parse_npy_header(bytes); }); };
  EXPECT_EQ(error({}), "is no array as numpy saves it");
  EXPECT_EQ(error(Bytes(200, 'x')), "is no array as numpy saves it");
  EXPECT_EQ(error(npy(good, 4)), "is of version 4 of numpy's format; versions 1 to 3 are read");
  Bytes cut = npy(good);
  cut.pop_back();
  EXPECT_EQ(error(cut), "ends in its header");
  Bytes long_one = npy(good, 2);
  long_one[10] = 1;
  EXPECT_NE(error(long_one).find("at most 65536 are read"), std::string::npos) << error(long_one);
  for (const std::string bad :
       {"", "{", "{}", "[1]", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': 1, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} more",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000000)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9000000000000000000)}", "{'descr': '<f4"})
    EXPECT_NE(error(npy(bad)), "no error") << bad;
}

/// No byte of a header makes the parser read beyond it.
TEST(Npy, DamagedHeadersEndInASentenceOrAHeader) {
  const Bytes good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  for (size_t at = 0; at < good.size(); ++at)
    for (const char byte : {'\0', '\1', '\'', '(', ')', '{', '}', ',', ':', '9', '-', ' ', '\xff'}) {
      Bytes damaged = good;
      damaged[at] = static_cast<uint8_t>(byte);
      EXPECT_NO_FATAL_FAILURE(error_of([&] { parse_npy_header(damaged); }));
    }
}

}  // namespace
}  // namespace lapidary
