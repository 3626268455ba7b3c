#include "configs/model/generation_config.h"

#include "configs/error.h"
#include "configs/json.h"

namespace lapidary {
namespace {

std::vector<int64_t> read_eos(const JsonObject& g, const std::vector<int64_t>& otherwise) {
  const char* field = "eos_token_id";
  if (!g.has(field) || g.is_null(field)) return otherwise;
  if (g.at(field).is_array()) return g.ints(field, 0, INT32_MAX);
  return {g.required_int(field, 0, INT32_MAX)};
}

GenerationConfig defaults(const ModelConfig& model) {
  GenerationConfig config;
  config.eos = model.eos;
  return config;
}

}  // namespace

GenerationConfig parse_generation_config(std::string_view text, const std::string& source,
                                         const ModelConfig& model) {
  const auto json = parse_json(text, source);
  const JsonObject g(json, source);
  GenerationConfig config = defaults(model);
  config.eos = read_eos(g, model.eos);
  config.do_sample = g.optional_bool("do_sample").value_or(false);
  config.temperature = g.optional_double("temperature").value_or(config.temperature);
  config.top_k = g.optional_int("top_k", 0, INT32_MAX).value_or(config.top_k);
  config.top_p = g.optional_double("top_p").value_or(config.top_p);
  config.max_new_tokens = g.optional_int("max_new_tokens", 1, INT32_MAX);
  // Temperature 0 is how some files say greedy.
  if (!(config.temperature >= 0 && config.temperature <= 1e6)) {
    fail(g.where("temperature"), " is ", config.temperature, ", not from 0 to 1e6");
  }
  if (!(config.top_p > 0 && config.top_p <= 1)) {
    fail(g.where("top_p"), " is ", config.top_p, ", not more than 0 and at most 1");
  }
  if (config.temperature == 0) config.do_sample = false;
  return config;
}

GenerationConfig read_generation_config(const std::filesystem::path& folder_or_file,
                                        const ModelConfig& model) {
  const auto file = folder_or_file / "generation_config.json";
  if (!std::filesystem::exists(file)) return defaults(model);
  return parse_generation_config(read_text_file(file, kMaxConfigBytes), file.string(), model);
}

}  // namespace lapidary
