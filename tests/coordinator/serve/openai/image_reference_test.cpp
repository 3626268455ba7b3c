#include "coordinator/serve/openai/image_reference.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <random>

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/base64.h"

namespace lapidary {
namespace {

std::string encoded(const std::string& bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL ends it with a zero byte
  const auto* in = reinterpret_cast<const unsigned char*>(bytes.data());
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), in, static_cast<int>(bytes.size()));
  text.pop_back();
  return text;
}

std::string random_bytes(std::mt19937& random, size_t count) {
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

TEST(Base64, EveryLengthComesBack) {
  std::mt19937 random(1);
  for (size_t length = 0; length < 300; ++length) {
    const std::string bytes = random_bytes(random, length), text = encoded(bytes);
    EXPECT_EQ(base64_bytes(text), length);
    const Base64Result result = decode_base64(text);
    EXPECT_FALSE(result.bad) << length;
    EXPECT_EQ(result.bytes, bytes) << length;
  }
}

/// Only what an encoder writes is taken: any other text of these lengths is refused.
TEST(Base64, NoTwoTextsHaveTheSameBytes) {
  std::mt19937 random(2);
  constexpr std::string_view kAny = "AQgw+/=-_ \n%BZz09";
  size_t taken = 0;
  for (int round = 0; round < 50000; ++round) {
    std::string text(1 + random() % 8, '\0');
    for (char& c : text) c = kAny[random() % kAny.size()];
    const Base64Result result = decode_base64(text);
    if (result.bad) {
      EXPECT_LE(*result.bad, text.size());
      EXPECT_TRUE(result.bytes.empty());
    } else {
      EXPECT_EQ(encoded(result.bytes), text);
      ++taken;
    }
  }
  EXPECT_GT(taken, 500u);
}

TEST(ImageReference, OfAPictureOfMegabytes) {
  std::mt19937 random(3);
  const std::string bytes = random_bytes(random, size_t{6} << 20);
  const auto image = read_image_url("data:image/jpeg;base64," + encoded(bytes), "images[0]", ApiLimits());
  EXPECT_EQ(image.kind, ImageReference::Kind::bytes);
  EXPECT_EQ(image.value, bytes);
}

TEST(ImageReference, ALongUrlIsRefused) {
  try {
    read_image_url("https://host/" + std::string(8192, 'x'), "images[0]", ApiLimits());
    ADD_FAILURE() << "it was taken";
  } catch (const ApiError& error) {
    EXPECT_STREQ(error.what(), "images[0] is a URL of 8205 bytes, more than 8192");
  }
}

}  // namespace
}  // namespace lapidary
