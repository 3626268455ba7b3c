#include <bit>
#include <cmath>
#include <vector>

#include "tests/kernels/float8_reference.h"
#include "tests/kernels/matmul_cases.h"

// float8 weights against numbers that another library rounded (scripts/reference/float8.py): what the code
// here computes by itself is used nowhere to check it.

namespace lapidary {
namespace {

constexpr int64_t kOut = std::ssize(kFloat8Rows), kIn = std::ssize(kFloat8Rows[0].given);

std::vector<float> given_rows() {
  std::vector<float> rows;
  for (const Float8Row& row : kFloat8Rows)
    for (const uint32_t bits : row.given) rows.push_back(std::bit_cast<float>(bits));
  return rows;
}

TEST(Float8Reference, ScalesAndCodesAreTheOthers) {
  for (size_t r = 0; r < kFloat8Rows.size(); ++r) {
    const Float8Row& row = kFloat8Rows[r];
    float largest = 0;
    for (const uint32_t bits : row.given) largest = std::max(largest, std::abs(std::bit_cast<float>(bits)));
    const float scale = e4m3_scale(largest);
    EXPECT_EQ(std::bit_cast<uint32_t>(scale), row.scale) << "row " << r;
    for (size_t k = 0; k < row.given.size(); ++k) {
      const float value = std::bit_cast<float>(row.given[k]);
      EXPECT_EQ(to_e4m3(value / scale), row.codes[k]) << value << " in row " << r;
      EXPECT_EQ(std::bit_cast<uint32_t>(from_e4m3(row.codes[k]) * scale), row.held[k]) << "row " << r;
    }
  }
}

TEST(Float8Reference, WeightsHoldTheOthersNumbers) {
  std::vector<float> given = given_rows(), row(kIn);
  for (const DeviceChoice& choice : tested_devices()) {
    Device device(choice);
    Matrix w = device.ops.make_matrix(kOut, kIn, DType::e4m3, SumPlan::whole(kIn));
    device.ops.pack(w, 0, view(given.data(), DType::f32, 16, kIn));
    device.ops.pack(w, 16, view(given.data() + 16 * kIn, DType::f32, kOut - 16, kIn));
    for (size_t r = 0; r < kFloat8Rows.size(); ++r) {
      device.ops.unpack_row(w, static_cast<int64_t>(r), row.data());
      for (size_t k = 0; k < row.size(); ++k)
        EXPECT_EQ(row[k], std::bit_cast<float>(kFloat8Rows[r].held[k])) << choice.name << ", row " << r;
    }
  }
}

// x and weight are held exactly and their products, of 8 by 4 bits, are exact in float32, so that only the
// sum is off: each of its n additions by 2^-24 of the terms' magnitudes, twice that where an instruction cuts
// off instead of rounding.
TEST(Float8Reference, ProductsAreTheOthersSums) {
  std::vector<float> given = given_rows();
  for (const DeviceChoice& choice : tested_devices()) {
    Engine engine(choice, 1, std::ssize(kFloat8Products), kIn);
    Matrix w = engine.ops.make_matrix(kOut, kIn, DType::e4m3, SumPlan::whole(kIn));
    engine.ops.pack(w, 0, view(given.data(), DType::f32, 16, kIn));
    engine.ops.pack(w, 16, view(given.data() + 16 * kIn, DType::f32, kOut - 16, kIn));
    for (const Float8Product& product : kFloat8Products) {
      Floats x(kIn), y(kOut, NAN);
      for (int64_t k = 0; k < kIn; ++k)
        x[static_cast<size_t>(k)] = std::bit_cast<float>(product.x[static_cast<size_t>(k)]);
      engine.ops.matmul(view(y.data(), DType::f32, 1, kOut), view(x.data(), DType::f32, 1, kIn), w);
      engine.ops.synchronize();
      for (size_t r = 0; r < kFloat8Rows.size(); ++r)
        EXPECT_NEAR(y[r], product.sums[r], 2 * kIn * 0x1p-24 * product.sizes[r])
            << choice.name << ", row " << r;
    }
  }
}

}  // namespace
}  // namespace lapidary
