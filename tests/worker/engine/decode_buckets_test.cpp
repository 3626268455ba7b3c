#include "worker/engine/decode_buckets.h"

#include <gtest/gtest.h>

#include <set>

namespace lapidary {
namespace {

TEST(DecodeBucket, HoldsTheStepAndNoMoreThanThereCanBe) {
  for (const int64_t most : {1, 3, 20, 64, 100, 256}) {
    for (int64_t sequences = 1; sequences <= most; ++sequences) {
      for (const int64_t longest : {1, 511, 512, 513, 4097, 5000}) {
        const DecodeBucket bucket = DecodeBucket::fitting(sequences, longest, most, 5000);
        EXPECT_GE(bucket.rows, sequences);
        EXPECT_LE(bucket.rows, most);
        EXPECT_GE(bucket.tokens, longest);
        EXPECT_LE(bucket.tokens, 5000);
      }
    }
  }
}

TEST(DecodeBucket, FewDoForAllAndCostFewRows) {
  std::set<uint64_t> keys;
  for (int64_t sequences = 1; sequences <= 64; ++sequences) {
    const DecodeBucket bucket = DecodeBucket::fitting(sequences, 700, 64, 4224);
    EXPECT_LT(bucket.rows, 2 * sequences);
    EXPECT_LE(bucket.rows, sequences + 7);
    EXPECT_EQ(bucket.tokens, 1024);
    keys.insert(bucket.key());
  }
  EXPECT_EQ(keys.size(), 11u);  // 1, 2, 4, 8, then every 8 to 64
  for (const int64_t longest : {100, 600, 2000, 4000, 4200})
    keys.insert(DecodeBucket::fitting(1, longest, 64, 4224).key());
  EXPECT_EQ(keys.size(), 15u);
}

}  // namespace
}  // namespace lapidary
