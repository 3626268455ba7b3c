#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

/// The element types that a safetensors header may name. Weights are read from f32, f16 and bf16; the others
/// are known so that a file which holds them still opens, and are refused when they are asked for.
enum class StoredType : uint8_t {
  f64,
  f32,
  f16,
  bf16,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  f6_e2m3,
  f6_e3m2,
  f4,
  c64
};

/// As the format spells it: "F32", "BF16", …
const char* name_of(StoredType type);
/// Bits, because the format has types narrower than a byte.
int64_t bits_of(StoredType type);
std::optional<StoredType> stored_type(std::string_view name);

/// Rows, columns, … as stored; empty for a scalar.
using Shape = std::vector<int64_t>;
/// "[257216, 2304]"
std::string to_string(const Shape& shape);
/// The product of all dimensions, 1 for a scalar; nothing where it does not fit in 63 bits.
std::optional<int64_t> element_count(const Shape& shape);

}  // namespace lapidary
