#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/amx_emulation/emulated_isa.h"

namespace lapidary {

constexpr double kEps = 0x1p-24;  // largest relative error of one float32 rounding

/// Rows of floats with a gap behind each that nobody may touch.
class Rows {
 public:
  Rows(int64_t rows, int64_t cols, float value = 0)
      : rows_(rows), cols_(cols), data_(static_cast<size_t>(rows * (cols + kGap)), kCanary) {
    for (int64_t r = 0; r < rows; ++r) std::fill_n(&at(r, 0), cols, value);
  }
  static Rows random(int64_t rows, int64_t cols, uint32_t seed, float spread = 1) {
    Rows result(rows, cols);
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal(0, spread);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) result.at(r, c) = normal(engine);
    }
    return result;
  }

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  float& at(int64_t r, int64_t c) { return data_[static_cast<size_t>(r * (cols_ + kGap) + c)]; }
  float at(int64_t r, int64_t c) const { return data_[static_cast<size_t>(r * (cols_ + kGap) + c)]; }
  const float* row(int64_t r) const { return data_.data() + r * (cols_ + kGap); }
  Tensor tensor() { return {data_.data(), DType::f32, {rows_, cols_}, cols_ + kGap}; }
  Tensor tensor_of_row(int64_t r) { return tensor().row_range(r, r + 1); }

  bool gaps_untouched() const {
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = cols_; c < cols_ + kGap; ++c) {
        if (at(r, c) != kCanary) return false;
      }
    }
    return true;
  }
  bool same_bits(const Rows& other) const {
    return data_.size() == other.data_.size() &&
           std::memcmp(data_.data(), other.data_.data(), data_.size() * sizeof(float)) == 0;
  }

 private:
  static constexpr int64_t kGap = 5;
  static constexpr float kCanary = 12345.5f;
  int64_t rows_, cols_;
  std::vector<float> data_;
};

/// A backend of one instruction set with its threads.
struct Device {
  explicit Device(const cpu::Isa& isa, int count = 2) : threads(count), backend(threads, isa) {}
  ThreadPool threads;
  cpu::CpuBackend backend;
};

/// A test that runs once for each instruction set: all that this machine has, and AMX in software.
class KernelTest : public testing::TestWithParam<const cpu::Isa*> {
 protected:
  const cpu::Isa& isa = *GetParam();
};

inline constexpr auto kTestNameOfIsa = [](const testing::TestParamInfo<const cpu::Isa*>& info) {
  return cpu::test_name(*info.param);
};

}  // namespace lapidary
