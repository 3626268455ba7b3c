#pragma once

#include <cstddef>
#include <cstdint>

#include "sharding/checkpoint/stored_type.h"

namespace lapidary {

/// Whether weights may be stored so: f32, f16, bf16.
bool is_weight_type(StoredType type);

/// `n` stored elements at any address to float32; exact, infinities and NaNs included. `type` must be a
/// weight type.
void convert(StoredType type, const std::byte* in, int64_t n, float* out);

/// … to bfloat16: rounded to nearest, ties to even (from bf16: the same bits); a NaN stays a NaN.
void convert(StoredType type, const std::byte* in, int64_t n, uint16_t* out);

}  // namespace lapidary
