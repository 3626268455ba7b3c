#include "sharding/checkpoint/stored_type.h"

#include <array>

#include "configs/error.h"

namespace lapidary {
namespace {

struct TypeRow {
  const char* name;
  int64_t bits;
};

// In the order of StoredType.
constexpr std::array<TypeRow, 20> kTypes{
    {{"F64", 64},    {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"I64", 64}, {"I32", 32}, {"I16", 16},
     {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},   {"BOOL", 8}, {"F8_E4M3", 8},
     {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},   {"C64", 64}}};

}  // namespace

const char* name_of(StoredType type) { return kTypes[static_cast<size_t>(type)].name; }

int64_t bits_of(StoredType type) { return kTypes[static_cast<size_t>(type)].bits; }

std::optional<StoredType> stored_type(std::string_view name) {
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (name == kTypes[i].name) return static_cast<StoredType>(i);
  }
  return std::nullopt;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += cat(i ? ", " : "", shape[i]);
  return text + "]";
}

std::optional<int64_t> element_count(const Shape& shape) {
  int64_t count = 1;
  // A zero anywhere makes the product zero, however large the others are.
  for (int64_t n : shape) {
    if (n == 0) return 0;
  }
  for (int64_t n : shape) {
    if (__builtin_mul_overflow(count, n, &count)) return std::nullopt;
  }
  return count;
}

}  // namespace lapidary
