#pragma once

#include <string>
#include <vector>

#include "configs/model/model_config.h"
#include "sharding/checkpoint/stored_type.h"

namespace lapidary {

class TensorSource;

enum class TensorKind : uint8_t { matrix, bias, rms_weight, layer_norm_weight };

struct TensorSpec {
  std::string name;  // canonical
  Shape shape;
  TensorKind kind;
};

/// Every weight of the model, under its canonical name, in the order of the forward pass. `lm_head.weight` is
/// among them only where it is not tied to the embedding table.
std::vector<TensorSpec> model_tensors(const ModelConfig& config);

/// Sets the vocabulary to the rows of the stored embedding table (fine-tunes and padding change it,
/// config.json often does not follow) and checks that every weight is there in the right shape. A stored copy
/// of a tied head is marked as used. Throws one sentence naming the tensors and both shapes. Tensors that are
/// too many are found at the end of loading, by TensorSource::check_all_used.
void fit_to_weights(ModelConfig& config, TensorSource& source);

}  // namespace lapidary
