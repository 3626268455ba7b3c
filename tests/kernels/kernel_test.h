#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "tests/kernels/device_choice.h"
#include "tests/support/print.h"

namespace lapidary {

constexpr double kEps = 0x1p-24;  // largest relative error of one float32 rounding

/// Floats that devices read and write. Before the host looks at what an operation wrote here, or changes what
/// one reads, it calls Backend::synchronize().
class Floats {
 public:
  explicit Floats(size_t size, float value = 0)
      : memory_(test_memory(size * sizeof(float))), data_(new (memory_.get()) float[size]), size_(size) {
    std::fill_n(data_, size, value);
  }
  Floats(const float* from, size_t size) : Floats(size) { std::copy_n(from, size, data_); }
  explicit Floats(const std::vector<float>& values) : Floats(values.data(), values.size()) {}
  Floats(const Floats& other) : Floats(other.data_, other.size_) {}
  Floats& operator=(const Floats& other) {
    if (this != &other) *this = Floats(other);
    return *this;
  }
  Floats(Floats&&) = default;
  Floats& operator=(Floats&&) = default;

  float* data() const { return data_; }
  size_t size() const { return size_; }
  float& operator[](size_t i) const { return data_[i]; }
  std::vector<float> values() const { return {data_, data_ + size_}; }

 private:
  Buffer memory_;
  float* data_;
  size_t size_;
};

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
  Floats data_;
};

/// A backend with its host threads.
struct Device {
  explicit Device(const DeviceChoice& choice, int count = 2)
      : threads(count), backend(choice.make(threads)), ops(*backend) {}
  ThreadPool threads;
  std::unique_ptr<Backend> backend;
  Backend& ops;
};

/// A test that runs once for each device of the program.
class KernelTest : public testing::TestWithParam<DeviceChoice> {
 protected:
  const DeviceChoice& choice = GetParam();
};

inline void PrintTo(const DeviceChoice& choice, std::ostream* out) { *out << choice.name; }

inline constexpr auto kTestNameOfDevice = [](const testing::TestParamInfo<DeviceChoice>& info) {
  return info.param.name;
};

}  // namespace lapidary
