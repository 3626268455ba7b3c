#include "sharding/checkpoint/dummy_weights.h"

#include <bit>
#include <cmath>

#include "kernels/tensor.h"

namespace lapidary {
namespace {

/// FNV-1a.
uint64_t hash_of(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

void store(float value, float& out) { out = value; }
// Exact: every value fits in bfloat16.
void store(float value, uint16_t& out) { out = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); }

template <class Out>
void fill(const DummyValues& made, Range rows, Range cols, Out* out) {
  const auto first = static_cast<uint32_t>(cols.begin);
  const auto n = static_cast<uint32_t>(cols.size());
  const DummyValues here = made;  // nothing that `out` could point to
  for (int64_t row = rows.begin; row < rows.end; ++row, out += n) {
    const uint32_t key = row_key(here, row);
    for (uint32_t i = 0; i < n; ++i) store(number_at(here, key, first + i), out[i]);
  }
}

}  // namespace

DummyWeights::DummyWeights(const ModelConfig& config) : TensorSource("the dummy weights") {
  for (const TensorSpec& spec : model_tensors(config)) {
    add(spec.name, spec.shape);
    recipes_.push_back(recipe_of(spec));
  }
}

DummyValues DummyWeights::recipe_of(const TensorSpec& spec) {
  const uint64_t seed = hash_of(spec.name);
  switch (spec.kind) {
    case TensorKind::bias:
      return {seed, 0x1p-14f, 0, 8};  // up to 1/64
    case TensorKind::rms_weight:
      return {seed, 0x1p-13f, 0, 8};  // up to 1/32
    case TensorKind::layer_norm_weight:
      return {seed, 0x1p-7f, 1, 3};  // up to 1 ± 7/128: near 1 bfloat16 has steps of 1/128
    case TensorKind::matrix:
      break;
  }
  // The odd numbers from -255 to 255 have this root mean square; the step is a power of two, to stay exact.
  constexpr double kSpread = 147.8;
  const auto cols = static_cast<double>(matrix_shape(spec.shape)[1]);
  const long exponent = std::lround(std::log2(1 / (std::sqrt(cols) * kSpread)));
  return {seed, std::ldexp(1.0f, static_cast<int>(exponent)), 0, 8};
}

void DummyWeights::fetch(size_t tensor, Range rows, Range cols, float* out) {
  fill(recipes_[tensor], rows, cols, out);
}

void DummyWeights::fetch(size_t tensor, Range rows, Range cols, uint16_t* out) {
  fill(recipes_[tensor], rows, cols, out);
}

void DummyWeights::fetch_stored(size_t tensor, Range rows, Range cols, std::byte* out) {
  fill(recipes_[tensor], rows, cols, reinterpret_cast<uint16_t*>(out));
}

}  // namespace lapidary
