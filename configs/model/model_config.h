#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

/// SigLIP: a plain vision transformer over square patches.
struct VisionConfig {
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t layers = 12;
  int64_t heads = 12;
  int64_t image_size = 224;  // pixels a side
  int64_t patch_size = 16;
  int64_t channels = 3;
  double layer_norm_eps = 1e-6;

  /// Image tokens. Pixels beyond the last whole patch are left out, as a strided convolution leaves them.
  int64_t tokens() const { return (image_size / patch_size) * (image_size / patch_size); }
  int64_t head_dim() const { return hidden_size / heads; }
};

/// Gemma 2.
struct TextConfig {
  int64_t vocab_size =
      256000;  // the embedding table's rows win once it is open (sharding/checkpoint/model_tensors.h)
  int64_t hidden_size = 2304;
  int64_t intermediate_size = 9216;
  int64_t layers = 26;
  int64_t heads = 8;
  int64_t kv_heads = 4;
  int64_t head_dim = 256;  // never hidden_size / heads
  double query_pre_attn_scalar = 256;
  double rope_theta = 10000;
  double rms_norm_eps = 1e-6;
  std::optional<int64_t> sliding_window = 4096;  // none: every layer sees everything
  std::vector<bool> sliding_layers;              // one a layer
  // What the file says; whether they are applied is the numerics profile's choice (configs/model/numerics.h).
  std::optional<double> attn_softcap = 50;
  std::optional<double> final_softcap = 30;
  bool attention_autoset = false;  // _attn_implementation_autoset: some old releases then attend another way
  int64_t max_position_embeddings = 8192;
  bool tie_word_embeddings = true;  // the output head is the embedding table
  bool ties_missing_head =
      true;  // so it is all the same where the checkpoint stores no head (config.json's outer word)

  int64_t q_width() const { return heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
};

/// What a checkpoint's config.json says, with the defaults that transformers gives to fields it leaves out.
struct ModelConfig {
  VisionConfig vision;
  TextConfig text;
  int64_t projection_dim = 2048;  // equals text.hidden_size
  int64_t image_token_id = 256000;
  std::optional<int64_t> bos;
  std::vector<int64_t> eos;
  std::optional<int64_t> pad;
  std::string torch_dtype;  // "bfloat16", …; empty where the file does not say
};

/// Reads `config.json` of a checkpoint folder, or the named file, as transformers 4.47 to 5 write it. A field
/// that is absent gets its class's default; a null is a null. Throws one sentence, naming file, field and
/// both numbers, for another architecture and for values that no model can have.
ModelConfig read_model_config(const std::filesystem::path& folder_or_file);
/// The same from the text of a config.json; `source` begins every error.
ModelConfig parse_model_config(std::string_view text, const std::string& source);

class JsonObject;
/// The ids of `field`, one or a list; negative ones, which no token has, are left out, null is none.
std::vector<int64_t> read_end_tokens(const JsonObject& object, const char* field);

/// No config.json of a checkpoint comes near this.
constexpr uint64_t kMaxConfigBytes = 16 << 20;

struct ParameterCounts {
  int64_t vision = 0;
  int64_t projector = 0;
  int64_t text = 0;  // a tied head counts once
  int64_t total() const { return vision + projector + text; }
};

ParameterCounts parameters(const ModelConfig& config);

}  // namespace lapidary
