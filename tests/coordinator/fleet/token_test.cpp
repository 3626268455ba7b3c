#include "coordinator/fleet/token.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

TEST(Token, TwoAreNeverAlike) {
  const std::string one = make_token(), other = make_token();
  EXPECT_EQ(one.size(), 32u);
  EXPECT_EQ(one.find_first_not_of("0123456789abcdef"), one.npos);
  EXPECT_NE(one, other);
}

TEST(Token, OnlyTheWholeTokenIsTheSame) {
  EXPECT_TRUE(is_same_token("secret", "secret"));
  for (const char* other : {"", "secre", "secrets", "Secret", "secreT", "secretsecret"})
    EXPECT_FALSE(is_same_token("secret", other)) << other;
  EXPECT_FALSE(is_same_token("", ""));
}

}  // namespace
}  // namespace lapidary
