#include "configs/model/generation_config.h"

#include "configs/error.h"
#include "configs/json.h"

namespace lapidary {
namespace {

/// A setting that changes the text in transformers and is not done here. `off` is the number with which it
/// does nothing; so do null, false and what is empty.
struct Setting {
  const char* name;
  double off;
};
constexpr Setting kSettings[] = {{"num_beams", 1},
                                 {"num_beam_groups", 1},
                                 {"penalty_alpha", 0},
                                 {"dola_layers", 0},
                                 {"repetition_penalty", 1},
                                 {"encoder_repetition_penalty", 1},
                                 {"no_repeat_ngram_size", 0},
                                 {"encoder_no_repeat_ngram_size", 0},
                                 {"bad_words_ids", 0},
                                 {"force_words_ids", 0},
                                 {"constraints", 0},
                                 {"sequence_bias", 0},
                                 {"forced_bos_token_id", -1},
                                 {"forced_eos_token_id", -1},
                                 {"forced_decoder_ids", 0},
                                 {"suppress_tokens", -1},
                                 {"begin_suppress_tokens", -1},
                                 {"min_new_tokens", 0},
                                 {"exponential_decay_length_penalty", 0},
                                 {"guidance_scale", 1},
                                 {"watermarking_config", 0},
                                 {"stop_strings", 0},
                                 {"max_time", 0},
                                 {"num_return_sequences", 1}};
/// These count only where do_sample is true.
constexpr Setting kSamplingSettings[] = {
    {"typical_p", 1}, {"min_p", 0}, {"top_h", 0}, {"epsilon_cutoff", 0}, {"eta_cutoff", 0}};

bool is_off(const boost::json::value& value, double off) {
  if (value.is_null()) return true;
  if (value.is_bool()) return !value.get_bool();
  if (value.is_array()) return value.get_array().empty();
  if (value.is_object()) return value.get_object().empty();
  if (value.is_string()) return value.get_string().empty();
  return value.to_number<double>() == off;
}

[[noreturn]] void refuse(const JsonObject& g, const char* name) {
  std::string value = boost::json::serialize(g.at(name));
  constexpr size_t kLongest = 40;
  if (value.size() > kLongest) value = value.substr(0, kLongest) + "…";
  fail(g.where(name), " is ", value,
       ", which gives another text and is not supported yet: take it out of the file, or ignore the file "
       "with --generation-config none");
}

void check_settings(const JsonObject& g, const ModelConfig& model, bool samples) {
  const auto check = [&](const Setting& setting) {
    const auto* value = g.find(setting.name);
    if (value && !is_off(*value, setting.off)) refuse(g, setting.name);
  };
  for (const Setting& setting : kSettings) check(setting);
  if (samples)
    for (const Setting& setting : kSamplingSettings) check(setting);
  // It counts the prefix too: an image and <bos> are always there.
  const auto least = g.find("min_length");
  if (least &&
      !(least->is_number() && least->to_number<double>() <= static_cast<double>(model.vision.tokens() + 1)))
    check({"min_length", 0});
}

void read_sampling(const JsonObject& g, GenerationConfig& config) {
  config.temperature = g.optional_double("temperature").value_or(config.temperature);
  config.top_k = g.optional_int("top_k", 0, INT32_MAX).value_or(config.top_k);
  config.top_p = g.optional_double("top_p").value_or(config.top_p);
  // Temperature 0 is how some files say greedy.
  if (!(config.temperature >= 0 && config.temperature <= 1e6))
    fail(g.where("temperature"), " is ", config.temperature, ", not from 0 to 1e6");
  if (!(config.top_p > 0 && config.top_p <= 1))
    fail(g.where("top_p"), " is ", config.top_p, ", not more than 0 and at most 1");
  if (config.temperature == 0) config.do_sample = false;
}

}  // namespace

GenerationConfig default_generation_config(const ModelConfig& model) {
  GenerationConfig config;
  config.eos = model.eos;
  return config;
}

GenerationConfig parse_generation_config(std::string_view text, const std::string& source,
                                         const ModelConfig& model) {
  const auto json = parse_json(text, source);
  const JsonObject g(json, source);
  GenerationConfig config = default_generation_config(model);
  if (g.has("eos_token_id") && !g.is_null("eos_token_id")) config.eos = read_end_tokens(g, "eos_token_id");
  config.do_sample = g.optional_bool("do_sample").value_or(false);
  if (config.do_sample) read_sampling(g, config);
  config.max_new_tokens = g.optional_int("max_new_tokens", 1, INT32_MAX);
  check_settings(g, model, config.do_sample);
  return config;
}

GenerationConfig read_generation_config(const std::filesystem::path& folder_or_file,
                                        const ModelConfig& model) {
  const auto file = folder_or_file / "generation_config.json";
  if (!std::filesystem::exists(file)) return default_generation_config(model);
  return parse_generation_config(read_text_file(file, kMaxConfigBytes), file.string(), model);
}

}  // namespace lapidary
