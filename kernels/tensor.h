#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace lapidary {

/// float16 is only a form in which weights are stored: nothing computes with it.
enum class DType : uint8_t { f32, bf16, i32, u8, e4m3, f16 };

constexpr size_t size_of(DType dtype) {
  constexpr std::array<size_t, 6> kSizes{4, 2, 4, 1, 1, 2};
  return kSizes[static_cast<size_t>(dtype)];
}

constexpr const char* name_of(DType dtype) {
  constexpr std::array<const char*, 6> kNames{"float32", "bfloat16",    "int32",
                                              "uint8",   "float8_e4m3", "float16"};
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

/// float16, exactly; infinities and NaNs stay what they are. In whole numbers as far as possible: a thread
/// that flushes float32 subnormals to zero must not change the result.
constexpr float from_f16(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  // Subnormals: 2^-14 · (1 + m/1024) - 2^-14 is exact and leaves m · 2^-24.
  const float tiny =
      std::bit_cast<float>((magnitude << 13) + (113u << 23)) - std::bit_cast<float>(113u << 23);
  const uint32_t rebias =
      magnitude >= 0x7c00u ? 224u << 23 : 112u << 23;  // infinities and NaNs keep the top exponent
  const uint32_t normal = (magnitude << 13) + rebias;
  return std::bit_cast<float>(sign | (magnitude < 0x400u ? std::bit_cast<uint32_t>(tiny) : normal));
}

/// float8 e4m3: sign, four bits of exponent (bias 7), three of mantissa; no infinity, 0x7f is a NaN.
constexpr float from_e4m3(uint8_t bits) {
  const uint32_t sign = uint32_t{bits} >> 7 << 31, rest = bits & 0x7fu;
  if (rest == 0x7f) return std::bit_cast<float>(sign | 0x7fc00000u);
  return std::bit_cast<float>(sign | rest << 20) * 0x1p120f;
}

/// Round to nearest, ties to even; what is larger than 448 becomes 448, a NaN stays a NaN.
constexpr uint8_t to_e4m3(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 31 << 7, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return static_cast<uint8_t>(sign | 0x7f);
  const auto magnitude = std::bit_cast<float>(size);
  if (magnitude >= 448) return static_cast<uint8_t>(sign | 0x7e);
  // Below the normal range numbers are multiples of 2^-9, as float32 is next to 2^14.
  const uint32_t rounded =
      magnitude < 0x1p-6f ? std::bit_cast<uint32_t>(magnitude + 0x1p14f) - std::bit_cast<uint32_t>(0x1p14f)
                          : ((size + 0x7ffffu + (size >> 20 & 1u)) >> 20) - ((127u - 7u) << 3);
  return static_cast<uint8_t>(sign | rounded);
}

/// What an e4m3 row of largest magnitude `most` is multiplied by: the power of two that puts it in (224,
/// 448]. A float has the same relative precision wherever its range begins, so a finer scale would gain
/// nothing, and a power of two rounds nothing: a sum scaled whole and its parts scaled each are the same
/// bits.
constexpr float e4m3_scale(float most) {
  if (!(most >= 0x1p-100f)) return most != most ? most : 1;  // a NaN shows; such a row is zeros
  const auto bits = std::bit_cast<uint32_t>(most);
  const uint32_t exponent = (bits >> 23) - 8 + ((bits & 0x7fffffu) > 0x600000u ? 1 : 0);  // 448 = 1.75 · 2^8
  return std::bit_cast<float>(exponent << 23);
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
