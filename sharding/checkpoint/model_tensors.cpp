#include "sharding/checkpoint/model_tensors.h"

#include <cstdlib>
#include <set>
#include <string_view>

#include "configs/error.h"
#include "sharding/checkpoint/safetensors_header.h"
#include "sharding/checkpoint/tensor_source.h"

namespace lapidary {
namespace {

using Specs = std::vector<TensorSpec>;

void add_linear(Specs& specs, const std::string& name, int64_t out, int64_t in) {
  specs.push_back({name + ".weight", {out, in}, TensorKind::matrix});
  specs.push_back({name + ".bias", {out}, TensorKind::bias});
}

void add_layer_norm(Specs& specs, const std::string& name, int64_t width) {
  specs.push_back({name + ".weight", {width}, TensorKind::layer_norm_weight});
  specs.push_back({name + ".bias", {width}, TensorKind::bias});
}

void add_vision(Specs& specs, const VisionConfig& v) {
  const int64_t h = v.hidden_size;
  const std::string tower = "vision_tower.";
  specs.push_back({tower + "embeddings.patch_embedding.weight",
                   {h, v.channels, v.patch_size, v.patch_size},
                   TensorKind::matrix});
  specs.push_back({tower + "embeddings.patch_embedding.bias", {h}, TensorKind::bias});
  specs.push_back({tower + "embeddings.position_embedding.weight", {v.tokens(), h}, TensorKind::matrix});
  for (int64_t i = 0; i < v.layers; ++i) {
    const std::string layer = cat(tower, "encoder.layers.", i, ".");
    add_layer_norm(specs, layer + "layer_norm1", h);
    for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      add_linear(specs, layer + "self_attn." + part, h, h);
    }
    add_layer_norm(specs, layer + "layer_norm2", h);
    add_linear(specs, layer + "mlp.fc1", v.intermediate_size, h);
    add_linear(specs, layer + "mlp.fc2", h, v.intermediate_size);
  }
  add_layer_norm(specs, tower + "post_layernorm", h);
}

void add_text(Specs& specs, const TextConfig& t) {
  const int64_t h = t.hidden_size;
  const auto matrix = [&](const std::string& name, int64_t out, int64_t in) {
    specs.push_back({name + ".weight", {out, in}, TensorKind::matrix});
  };
  const auto norm = [&](const std::string& name) {
    specs.push_back({name + ".weight", {h}, TensorKind::rms_weight});
  };
  matrix("language_model.embed_tokens", t.vocab_size, h);
  for (int64_t i = 0; i < t.layers; ++i) {
    const std::string layer = cat("language_model.layers.", i, ".");
    norm(layer + "input_layernorm");
    matrix(layer + "self_attn.q_proj", t.q_width(), h);
    matrix(layer + "self_attn.k_proj", t.kv_width(), h);
    matrix(layer + "self_attn.v_proj", t.kv_width(), h);
    matrix(layer + "self_attn.o_proj", h, t.q_width());
    norm(layer + "post_attention_layernorm");
    norm(layer + "pre_feedforward_layernorm");
    matrix(layer + "mlp.gate_proj", t.intermediate_size, h);
    matrix(layer + "mlp.up_proj", t.intermediate_size, h);
    matrix(layer + "mlp.down_proj", h, t.intermediate_size);
    norm(layer + "post_feedforward_layernorm");
  }
  norm("language_model.norm");
  if (!t.tie_word_embeddings) matrix("lm_head", t.vocab_size, h);
}

}  // namespace

std::vector<TensorSpec> model_tensors(const ModelConfig& config) {
  Specs specs;
  add_vision(specs, config.vision);
  add_linear(specs, "multi_modal_projector.linear", config.projection_dim, config.vision.hidden_size);
  add_text(specs, config.text);
  return specs;
}

namespace {

void check_missing(const Specs& specs, const TensorSource& source) {
  std::vector<std::string> missing;
  for (const TensorSpec& spec : specs)
    if (!source.contains(spec.name)) missing.push_back(spec.name);
  if (!missing.empty())
    fail(source.where(), " lacks ", missing.size(), " of the ", specs.size(),
         " tensors that its config calls for: ", first_few(missing));
}

void check_stored(const Specs& specs, const TensorSource& source) {
  for (const TensorSpec& spec : specs) {
    const Shape& stored = source.shape_of(spec.name);
    if (stored != spec.shape)
      fail(source.where(), ": tensor ", spec.name, " has shape ", to_string(stored),
           ", but the config calls for ", to_string(spec.shape));
    source.stored_dtype(spec.name);  // throws where weights are not read from it
  }
}

/// Whether a name is of a layer that the model does not have: then the config is another, shallower model's.
bool is_of_deeper_model(const std::string& name, const ModelConfig& config) {
  const auto deeper = [&](std::string_view layers, int64_t count) {
    return name.starts_with(layers) && std::atoll(name.c_str() + layers.size()) >= count;
  };
  return deeper("vision_tower.encoder.layers.", config.vision.layers) ||
         deeper("language_model.layers.", config.text.layers);
}

void check_depth(const ModelConfig& config, const TensorSource& source) {
  std::vector<std::string> deeper;
  for (const std::string& name : source.names())
    if (is_of_deeper_model(name, config)) deeper.push_back(shown_name(name));
  if (!deeper.empty())
    fail(source.where(), " holds ", deeper.size(), deeper.size() == 1 ? " tensor" : " tensors",
         " of layers that the model does not use, since its config has num_hidden_layers ",
         config.vision.layers, " (vision) and ", config.text.layers, " (text): ", first_few(deeper));
}

void leave_others(const Specs& specs, TensorSource& source) {
  std::set<std::string> needed{
      "lm_head.weight"};  // a copy of the embedding table, where the model has no head
  for (const TensorSpec& spec : specs) needed.insert(spec.name);
  std::vector<std::string> others;
  for (const std::string& name : source.names()) {
    if (needed.contains(name)) continue;
    source.ignore(name);
    others.push_back(shown_name(name));
  }
  if (!others.empty())
    source.remark(
        cat(source.where(), " holds ", others.size(), others.size() == 1 ? " tensor" : " tensors",
            " that the model does not use, left out as transformers leaves them: ", first_few(others)));
}

}  // namespace

void fit_to_weights(ModelConfig& config, TensorSource& source) {
  TextConfig& text = config.text;
  const std::string table = "language_model.embed_tokens.weight", head = "lm_head.weight";
  if (source.contains(table) && source.shape_of(table).size() == 2 && source.shape_of(table)[0] > 0)
    text.vocab_size = source.shape_of(table)[0];
  if (text.ties_missing_head && !source.contains(head)) text.tie_word_embeddings = true;
  const Specs specs = model_tensors(config);
  check_missing(specs, source);
  check_depth(config, source);
  check_stored(specs, source);
  leave_others(specs, source);
  if (!text.tie_word_embeddings || !source.contains(head)) return;
  check_stored({{head, {text.vocab_size, text.hidden_size}, TensorKind::matrix}}, source);
  source.ignore(head);
}

}  // namespace lapidary
