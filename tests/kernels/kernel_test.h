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
#include "kernels/cpu/detect.h"

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
  explicit Device(const std::string& isa, int count = 2)
      : threads(count), ops(make_cpu_backend(threads, isa)) {}
  ThreadPool threads;
  std::unique_ptr<Backend> ops;
};

/// A test that runs once for each instruction set of this machine.
class KernelTest : public testing::TestWithParam<std::string> {};

inline std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const cpu::Isa* isa : cpu::available_isas()) names.emplace_back(isa->name);
  return names;
}

/// "avx512-bf16" as part of a test's name.
inline constexpr auto kTestNameOfIsa = [](const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
};

}  // namespace lapidary
