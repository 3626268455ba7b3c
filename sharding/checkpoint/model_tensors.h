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
/// config.json often does not follow), ties a head that is not stored where config.json's outer word allows
/// it, and checks that every weight is there, in the right shape and in a dtype that weights are read from. A
/// stored copy of a tied head is marked as used; so are tensors that the model has no place for, as
/// transformers passes them over: they are a remark of the source. Throws one sentence naming the tensors and
/// both shapes.
void fit_to_weights(ModelConfig& config, TensorSource& source);

}  // namespace lapidary
