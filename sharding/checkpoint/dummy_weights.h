#pragma once

#include <cstdint>
#include <vector>

#include "sharding/checkpoint/model_tensors.h"
#include "sharding/checkpoint/tensor_source.h"

namespace lapidary {

/// Weights made up in memory, for runs of any size without a download. Each value follows from the tensor's
/// name and the element's row and column alone, so every layout sees the same model. All values are exact in
/// bfloat16, so every dtype does too. Their spread keeps activations near 1: ±1/sqrt(cols) for matrices,
/// small biases, RMS norms' weights near 0 (they are stored less one) and layer norms' near 1.
class DummyWeights final : public TensorSource {
 public:
  explicit DummyWeights(const ModelConfig& config);

 private:
  static DummyValues recipe_of(const TensorSpec& spec);
  void fetch(size_t tensor, Range rows, Range cols, float* out) override;
  void fetch(size_t tensor, Range rows, Range cols, uint16_t* out) override;
  DType dtype_of(size_t) const override { return DType::bf16; }
  void fetch_stored(size_t tensor, Range rows, Range cols, std::byte* out) override;
  std::optional<DummyValues> recipe(size_t tensor) const override { return recipes_[tensor]; }

  std::vector<DummyValues> recipes_;  // in the order of TensorSource::add
};

}  // namespace lapidary
