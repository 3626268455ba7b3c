#include "worker/masks/mask_decoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "tests/support/error_text.h"
#include "tests/support/test_data.h"
#include "worker/masks/npz.h"

namespace lapidary {
namespace {

const std::filesystem::path kFolder = test_data() / "tests" / "golden" / "masks";
constexpr int64_t kMasks = 7;

std::vector<int32_t> codes_of(const FloatArrays& golden, int64_t mask) {
  const auto begin = golden.at("codes").begin() + mask * kMaskCodes;
  return {begin, begin + kMaskCodes};
}

TEST(MaskDecoder, GivesWhatNumpyComputesByDefinition) {
  const FloatArrays golden =
      read_npz(kFolder / "decoded.npz", {{"codes", {kMasks, 16}}, {"decoded", {kMasks, 64, 64}}});
  const std::vector<float>& expected = golden.at("decoded");
  const MaskDecoder decoder(kFolder / "decoder.npz");
  float largest = 0, most = 0;
  for (int64_t i = 0; i < kMasks; ++i) {
    const DecodedMask mask = decoder.decode(codes_of(golden, i));
    for (size_t j = 0; j < mask.size(); ++j) {
      const float value = expected[static_cast<size_t>(i) * mask.size() + j];
      largest = std::max(largest, std::abs(value));
      most = std::max(most, std::abs(mask[j] - value));
    }
  }
  // The golden sums are of float64. Ours are rounded in float32 (6e-8) at each of up to 1152 terms, in ten
  // layers: errors of both signs add up to about 1e-6 of the largest value. A wrong tap changes it by 1e-2
  // and more.
  EXPECT_LT(most, 5e-6f * largest) << "largest " << largest;
}

TEST(MaskDecoder, ThreadsShareOne) {
  const MaskDecoder decoder(kFolder / "decoder.npz");
  std::vector<int32_t> codes(16, 5);
  const DecodedMask alone = decoder.decode(codes);
  std::vector<DecodedMask> masks(4);
  std::vector<std::thread> threads;
  for (DecodedMask& mask : masks) threads.emplace_back([&] { mask = decoder.decode(codes); });
  for (std::thread& thread : threads) thread.join();
  for (const DecodedMask& mask : masks) EXPECT_EQ(mask, alone);
}

TEST(MaskDecoder, CodesThatAreNoneAreRefused) {
  const MaskDecoder decoder(kFolder / "decoder.npz");
  std::vector<int32_t> codes(16, 127);
  decoder.decode(codes);
  codes[3] = 128;
  EXPECT_EQ(error_of([&] { decoder.decode(codes); }), "a mask has the code 128, not below 128");
  codes[3] = -1;
  EXPECT_NE(error_of([&] { decoder.decode(codes); }), "no error");
  codes.pop_back();
  EXPECT_EQ(error_of([&] { decoder.decode(codes); }), "a mask has 15 codes, not 16");
}

TEST(MaskDecoder, AnotherFileIsRefusedByItsFirstMissingArray) {
  const std::string error = error_of([] { MaskDecoder{kFolder / "decoded.npz"}; });
  EXPECT_NE(error.find("decoded.npz: has no array _vq_vae._embedding, expected one of the shape [128, 512]"),
            std::string::npos)
      << error;
}

}  // namespace
}  // namespace lapidary
