#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace lapidary {

enum class DType : uint8_t { f32, bf16, i32, u8 };

constexpr size_t size_of(DType dtype) {
  constexpr std::array<size_t, 4> kSizes{4, 2, 4, 1};
  return kSizes[static_cast<size_t>(dtype)];
}

constexpr const char* name_of(DType dtype) {
  constexpr std::array<const char*, 4> kNames{"float32", "bfloat16", "int32", "uint8"};
  return kNames[static_cast<size_t>(dtype)];
}

/// bfloat16 is the upper half of a float32.
constexpr float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

/// Round to nearest, ties to even; a NaN stays a NaN.
constexpr uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// A view of rows on one device: never owns, copied freely. Rows may lie further apart than they are long, so
/// that a range of columns is a view too.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  std::array<int64_t, 2> shape{};  // [rows, cols]
  int64_t stride = 0;              // elements from one row to the next

  int64_t rows() const { return shape[0]; }
  int64_t cols() const { return shape[1]; }

  template <class T>
  T* row(int64_t r) const {
    return static_cast<T*>(data) + r * stride;
  }
  Tensor row_range(int64_t begin, int64_t end) const {
    return {static_cast<std::byte*>(data) + static_cast<size_t>(begin * stride) * size_of(dtype),
            dtype,
            {end - begin, cols()},
            stride};
  }
  Tensor col_range(int64_t begin, int64_t end) const {
    return {static_cast<std::byte*>(data) + static_cast<size_t>(begin) * size_of(dtype),
            dtype,
            {rows(), end - begin},
            stride};
  }
};

/// A contiguous view of memory somebody else owns.
inline Tensor view(void* data, DType dtype, int64_t rows, int64_t cols) {
  return {data, dtype, {rows, cols}, cols};
}

/// Owns device memory; made by one Backend and freed as it said.
using Buffer = std::unique_ptr<std::byte[], std::function<void(std::byte*)>>;

}  // namespace lapidary
