#pragma once

#include "tests/kernels/kernel_test.h"

namespace lapidary {

/// Rows of float32 or bfloat16 with a gap behind each that nobody may touch: aligned to 16 bytes, or each row
/// somewhere else.
class Activations {
 public:
  Activations(DType dtype, int64_t rows, int64_t cols, bool aligned)
      : dtype_(dtype),
        rows_(rows),
        cols_(cols),
        first_(aligned ? 0 : 1),
        stride_(aligned ? (cols + 16) / 16 * 16 : (cols | 1) + 2),
        bytes_(static_cast<size_t>(first_ + rows * stride_) * size_of(dtype)),
        memory_(test_memory(bytes_)) {
    std::memset(memory_.get(), kCanary, bytes_);
  }
  static Activations random(DType dtype, int64_t rows, int64_t cols, bool aligned, uint32_t seed) {
    Activations result(dtype, rows, cols, aligned);
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal(0, 2);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) result.set(r, c, normal(engine));
    return result;
  }

  Tensor tensor() const { return {memory_.get() + offset(0, 0), dtype_, {rows_, cols_}, stride_}; }
  float at(int64_t r, int64_t c) const {
    const std::byte* from = memory_.get() + offset(r, c);
    if (dtype_ == DType::bf16) return from_bf16(*reinterpret_cast<const uint16_t*>(from));
    return *reinterpret_cast<const float*>(from);
  }
  /// Rounded where this is bfloat16.
  void set(int64_t r, int64_t c, float value) {
    std::byte* to = memory_.get() + offset(r, c);
    if (dtype_ == DType::bf16)
      *reinterpret_cast<uint16_t*>(to) = to_bf16(value);
    else
      *reinterpret_cast<float*>(to) = value;
  }
  /// The same numbers (rounded, where `dtype` is bfloat16) in another form.
  Activations as(DType dtype, bool aligned) const {
    Activations result(dtype, rows_, cols_, aligned);
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t c = 0; c < cols_; ++c) result.set(r, c, at(r, c));
    return result;
  }

  bool gaps_untouched() const {
    for (int64_t r = 0; r < rows_; ++r)
      for (size_t i = offset(r, cols_); i < offset(r + 1, 0); ++i)
        if (memory_[i] != std::byte{kCanary}) return false;
    return true;
  }

 private:
  static constexpr unsigned char kCanary = 0x5a;

  size_t offset(int64_t r, int64_t c) const {
    return static_cast<size_t>(first_ + r * stride_ + c) * size_of(dtype_);
  }

  DType dtype_;
  int64_t rows_, cols_, first_, stride_;
  size_t bytes_;
  Buffer memory_;
};

}  // namespace lapidary
