#pragma once

#include <cstdint>

namespace lapidary::cpu {
namespace {  // internal linkage: see vec_avx512.h

template <class V>
void to_bf16_row(void* dst, const float* src, int64_t n) {
  uint16_t* out = static_cast<uint16_t*>(dst);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) V::load(src + i).store_bf16(out + i);
  if (i < n) V::load_n(src + i, static_cast<int>(n - i)).store_bf16_n(out + i, static_cast<int>(n - i));
}

/// Rounded to bf16 and widened again.
template <class V>
void to_rounded_row(void* dst, const float* src, int64_t n) {
  float* out = static_cast<float*>(dst);
  uint16_t half[16];
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    V::load(src + i).store_bf16(half);
    V::load_bf16(half).store(out + i);
  }
  if (i == n) return;
  V::load_n(src + i, static_cast<int>(n - i)).store_bf16(half);
  V::load_bf16(half).store_n(out + i, static_cast<int>(n - i));
}

template <class V>
void add_to_row(float* sum, const float* other, int64_t n) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) (V::load(sum + i) + V::load(other + i)).store(sum + i);
  if (i == n) return;
  const int rest = static_cast<int>(n - i);
  (V::load_n(sum + i, rest) + V::load_n(other + i, rest)).store_n(sum + i, rest);
}

}  // namespace
}  // namespace lapidary::cpu
