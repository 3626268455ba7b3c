#include "sharding/checkpoint/convert.h"

#include <cstring>
#include <stdexcept>

#include "kernels/tensor.h"

namespace lapidary {
namespace {

template <class T>
T load(const std::byte* in, int64_t i) {
  T value;
  std::memcpy(&value, in + i * static_cast<int64_t>(sizeof value), sizeof value);
  return value;
}

template <class Out, class One>
void each(int64_t n, Out* out, const One& one) {
  for (int64_t i = 0; i < n; ++i) out[i] = one(i);
}

}  // namespace

bool is_weight_type(StoredType type) {
  return type == StoredType::f32 || type == StoredType::f16 || type == StoredType::bf16;
}

void convert(StoredType type, const std::byte* in, int64_t n, float* out) {
  switch (type) {
    case StoredType::f32:
      std::memcpy(out, in, static_cast<size_t>(n) * sizeof *out);
      return;
    case StoredType::f16:
      return each(n, out, [&](int64_t i) { return from_f16(load<uint16_t>(in, i)); });
    case StoredType::bf16:
      return each(n, out, [&](int64_t i) { return from_bf16(load<uint16_t>(in, i)); });
    default:
      throw std::logic_error("not a weight type");
  }
}

void convert(StoredType type, const std::byte* in, int64_t n, uint16_t* out) {
  switch (type) {
    case StoredType::f32:
      return each(n, out, [&](int64_t i) { return to_bf16(load<float>(in, i)); });
    case StoredType::f16:
      return each(n, out, [&](int64_t i) { return to_bf16(from_f16(load<uint16_t>(in, i))); });
    case StoredType::bf16:
      std::memcpy(out, in, static_cast<size_t>(n) * sizeof *out);
      return;
    default:
      throw std::logic_error("not a weight type");
  }
}

}  // namespace lapidary
