#include "configs/model/model_config.h"

#include <cmath>

#include "configs/error.h"
#include "configs/json.h"

namespace lapidary {
namespace {

// Far beyond any model, near enough that no product of them overflows.
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxLayers = 1 << 12;
constexpr int64_t kMaxPixels = 1 << 14;
constexpr int64_t kMaxIds = 1 << 26;

int64_t size_field(const JsonObject& object, const char* field, int64_t otherwise, int64_t most) {
  return object.int_or(field, otherwise, 1, most);
}

double positive(const JsonObject& object, std::string_view field, double value) {
  if (!(value > 0) || !std::isfinite(value)) {
    fail(object.where(field), " is ", value, "; it must be more than 0 and finite");
  }
  return value;
}

double positive_or(const JsonObject& object, std::string_view field, double otherwise) {
  return positive(object, field, object.double_or(field, otherwise));
}

void expect(const JsonObject& object, const char* field, std::string_view wanted,
            std::string_view otherwise) {
  const std::string value = object.string_or(field, otherwise);
  if (value != wanted) fail(object.where(field), " is \"", value, "\"; only \"", wanted, "\" is supported");
}

VisionConfig read_vision(const JsonObject& v) {
  expect(v, "model_type", "siglip_vision_model", "siglip_vision_model");
  expect(v, "hidden_act", "gelu_pytorch_tanh", "gelu_pytorch_tanh");
  VisionConfig c;
  c.hidden_size = size_field(v, "hidden_size", c.hidden_size, kMaxWidth);
  c.intermediate_size = size_field(v, "intermediate_size", c.intermediate_size, kMaxWidth);
  c.layers = size_field(v, "num_hidden_layers", c.layers, kMaxLayers);
  c.heads = size_field(v, "num_attention_heads", c.heads, kMaxWidth);
  c.image_size = size_field(v, "image_size", c.image_size, kMaxPixels);
  c.patch_size = size_field(v, "patch_size", c.patch_size, kMaxPixels);
  c.channels = size_field(v, "num_channels", c.channels, kMaxWidth);
  c.layer_norm_eps = positive_or(v, "layer_norm_eps", c.layer_norm_eps);
  if (c.hidden_size % c.heads != 0) {
    fail(v.where("hidden_size"), " is ", c.hidden_size, ", not a multiple of num_attention_heads, ", c.heads);
  }
  if (c.image_size < c.patch_size) {
    fail(v.where("image_size"), " is ", c.image_size, ", less than patch_size, ", c.patch_size);
  }
  if (c.channels != 3) fail(v.where("num_channels"), " is ", c.channels, "; images have 3");
  return c;
}

/// What transformers takes for an absent vision_config of this model.
VisionConfig default_vision() {
  VisionConfig c;
  c.hidden_size = 1152;
  c.intermediate_size = 4096;
  c.layers = 27;
  c.heads = 16;
  c.patch_size = 14;
  return c;
}

/// `rope_theta` beside the other fields (4.x), or inside `rope_parameters` or `rope_scaling`, which then win
/// (5.x).
double read_rope_theta(const JsonObject& t) {
  double theta = positive_or(t, "rope_theta", 10000);
  const char* field =
      t.has("rope_scaling") && !t.is_null("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const auto rope = t.optional_object(field);
  if (!rope) return theta;
  expect(*rope, rope->has("rope_type") ? "rope_type" : "type", "default", "default");
  if (const auto inner = rope->optional_double("rope_theta")) theta = positive(*rope, "rope_theta", *inner);
  for (const char* scaled : {"factor", "sliding_attention", "full_attention"}) {
    if (rope->has(scaled)) fail(rope->where(scaled), " is given; scaled rotary embeddings are not supported");
  }
  return theta;
}

std::vector<bool> read_sliding_layers(const JsonObject& t, int64_t layers) {
  std::vector<bool> sliding;
  if (!t.has("layer_types") || t.is_null("layer_types")) {
    for (int64_t i = 0; i < layers; ++i) sliding.push_back(i % 2 == 0);
    return sliding;
  }
  for (const std::string& type : t.strings("layer_types")) {
    if (type != "sliding_attention" && type != "full_attention") {
      fail(t.where("layer_types"), " has \"", type,
           "\"; only sliding_attention and full_attention are supported");
    }
    sliding.push_back(type == "sliding_attention");
  }
  if (static_cast<int64_t>(sliding.size()) != layers) {
    fail(t.where("layer_types"), " has ", sliding.size(), " entries, but num_hidden_layers is ", layers);
  }
  return sliding;
}

/// Absent is the class's default, null is no cap.
std::optional<double> read_cap(const JsonObject& t, const char* field, std::optional<double> otherwise) {
  if (!t.has(field)) return otherwise;
  if (t.is_null(field)) return std::nullopt;
  const double cap = t.required_double(field);
  if (cap == 0) fail(t.where(field), " is 0; write null for no cap");
  return positive(t, field, cap);
}

void check_heads(const JsonObject& t, const TextConfig& c) {
  if (c.heads % c.kv_heads != 0) {
    fail(t.where("num_attention_heads"), " is ", c.heads, ", not a multiple of num_key_value_heads, ",
         c.kv_heads);
  }
  if (c.head_dim % 2 != 0)
    fail(t.where("head_dim"), " is ", c.head_dim, "; rotary embeddings need an even number");
  if (c.q_width() > kMaxWidth) {
    fail(t.where("head_dim"), " is ", c.head_dim, " for ", c.heads, " heads, together more than ", kMaxWidth);
  }
}

void check_text_kind(const JsonObject& t) {
  const std::string type = t.string_or("model_type", "gemma");  // as transformers takes an absent one
  if (type == "gemma") {
    fail(t.where("model_type"),
         " is \"gemma\", so this is PaliGemma 1; only PaliGemma 2 (\"gemma2\") is supported");
  }
  if (type != "gemma2") fail(t.where("model_type"), " is \"", type, "\"; only \"gemma2\" is supported");
  // Gemma 2 goes by hidden_activation; a hidden_act beside it is a relic.
  const char* activation =
      t.has("hidden_activation") || !t.has("hidden_act") ? "hidden_activation" : "hidden_act";
  expect(t, activation, "gelu_pytorch_tanh", "gelu_pytorch_tanh");
  if (t.bool_or("attention_bias", false)) {
    fail(t.where("attention_bias"), " is true; attention without biases is what is supported");
  }
}

TextConfig read_text(const JsonObject& t) {
  check_text_kind(t);
  TextConfig c;
  c.vocab_size = size_field(t, "vocab_size", c.vocab_size, kMaxIds);
  c.hidden_size = size_field(t, "hidden_size", c.hidden_size, kMaxWidth);
  c.intermediate_size = size_field(t, "intermediate_size", c.intermediate_size, kMaxWidth);
  c.layers = size_field(t, "num_hidden_layers", c.layers, kMaxLayers);
  c.heads = size_field(t, "num_attention_heads", c.heads, kMaxWidth);
  c.kv_heads = size_field(t, "num_key_value_heads", c.kv_heads, kMaxWidth);
  c.head_dim = size_field(t, "head_dim", c.head_dim, kMaxWidth);
  c.query_pre_attn_scalar = positive_or(t, "query_pre_attn_scalar", c.query_pre_attn_scalar);
  c.rope_theta = read_rope_theta(t);
  c.rms_norm_eps = positive_or(t, "rms_norm_eps", c.rms_norm_eps);
  if (t.has("sliding_window")) c.sliding_window = t.optional_int("sliding_window", 1, INT32_MAX);
  c.sliding_layers = read_sliding_layers(t, c.layers);
  c.attn_softcap = read_cap(t, "attn_logit_softcapping", c.attn_softcap);
  c.final_softcap = read_cap(t, "final_logit_softcapping", c.final_softcap);
  c.attention_autoset = t.optional_bool("_attn_implementation_autoset").value_or(false);
  c.max_position_embeddings = size_field(t, "max_position_embeddings", c.max_position_embeddings, kMaxIds);
  c.tie_word_embeddings = t.bool_or("tie_word_embeddings", true);
  check_heads(t, c);
  return c;
}

void check_kind(const JsonObject& top) {
  expect(top, "model_type", "paligemma", "none");
  if (top.has("architectures") && !top.is_null("architectures")) {
    for (const std::string& name : top.strings("architectures")) {
      if (name != "PaliGemmaForConditionalGeneration") {
        fail(top.where("architectures"), " has \"", name,
             "\"; only \"PaliGemmaForConditionalGeneration\" is supported");
      }
    }
  }
  if (top.has("quantization_config") && !top.is_null("quantization_config")) {
    fail(top.where("quantization_config"), " is given; weights that are stored quantised are not supported");
  }
}

/// A negative id, -1 above all, is how some writers say that there is none.
std::optional<int64_t> read_id(const JsonObject& top, const std::optional<JsonObject>& text,
                               const char* field, int64_t otherwise) {
  const bool outer = top.has(field) && !top.is_null(field);
  if (!outer && (!text || !text->has(field))) return otherwise;
  const auto id = (outer ? top : *text).optional_int(field, INT32_MIN, kMaxIds);
  return id && *id >= 0 ? id : std::nullopt;
}

std::vector<int64_t> read_eos(const JsonObject& top, const JsonObject& text) {
  const char* field = "eos_token_id";
  for (const JsonObject* object : {&top, &text}) {
    if (!object->has(field) || (object->is_null(field) && object == &top)) continue;
    return read_end_tokens(*object, field);
  }
  return {1};
}

std::string read_dtype(const JsonObject& top, const JsonObject& text) {
  for (const JsonObject* object : {&top, &text}) {
    for (const char* field : {"dtype", "torch_dtype"}) {
      if (const auto value = object->optional_string(field)) return *value;
    }
  }
  return "";
}

}  // namespace

std::vector<int64_t> read_end_tokens(const JsonObject& object, const char* field) {
  if (object.is_null(field)) return {};
  auto ids = object.at(field).is_array() ? object.ints(field, INT32_MIN, kMaxIds)
                                         : std::vector{object.required_int(field, INT32_MIN, kMaxIds)};
  std::erase_if(ids, [](int64_t id) { return id < 0; });
  return ids;
}

ModelConfig parse_model_config(std::string_view text_of_file, const std::string& source) {
  const auto json = parse_json(text_of_file, source);
  const JsonObject top(json, source);
  check_kind(top);
  const auto text = top.optional_object("text_config");
  if (!text) {
    fail(top.where("text_config"),
         " is missing, so this is PaliGemma 1; only PaliGemma 2 (\"gemma2\") is supported");
  }
  const auto vision = top.optional_object("vision_config");
  ModelConfig config;
  config.vision = vision ? read_vision(*vision) : default_vision();
  config.text = read_text(*text);
  config.text.ties_missing_head = top.bool_or("tie_word_embeddings", true);
  config.text.tie_word_embeddings &= config.text.ties_missing_head;
  config.projection_dim = size_field(top, "projection_dim", config.projection_dim, kMaxWidth);
  if (config.projection_dim != config.text.hidden_size) {
    fail(top.where("projection_dim"), " is ", config.projection_dim, ", but text_config.hidden_size is ",
         config.text.hidden_size);
  }
  const char* image_token = top.has("image_token_index") ? "image_token_index" : "image_token_id";
  config.image_token_id = top.int_or(image_token, config.image_token_id, 0, kMaxIds);
  config.bos = read_id(top, text, "bos_token_id", 2);
  config.eos = read_eos(top, *text);
  config.pad = read_id(top, text, "pad_token_id", 0);
  config.torch_dtype = read_dtype(top, *text);
  return config;
}

ModelConfig read_model_config(const std::filesystem::path& folder_or_file) {
  const bool folder = std::filesystem::is_directory(folder_or_file);
  const std::filesystem::path file = folder ? folder_or_file / "config.json" : folder_or_file;
  return parse_model_config(read_text_file(file, kMaxConfigBytes), file.string());
}

}  // namespace lapidary
