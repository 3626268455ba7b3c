#include "configs/model/processor_config.h"

#include <cmath>
#include <optional>

#include "configs/error.h"
#include "configs/json.h"

namespace lapidary {
namespace {

ProcessorConfig derived(const ModelConfig& model) {
  ProcessorConfig config;
  config.image_size = model.vision.image_size;
  config.image_seq_length = model.vision.tokens();
  return config;
}

void check_steps(const JsonObject& p) {
  constexpr int64_t kBicubic = 3;
  if (!p.optional_bool("do_resize").value_or(true)) {
    fail(p.where("do_resize"), " is false; images are always resized to the model's square");
  }
  for (const char* step : {"do_center_crop", "do_pad"}) {
    if (p.optional_bool(step).value_or(false)) fail(p.where(step), " is true; this step is not supported");
  }
  const int64_t filter = p.optional_int("resample").value_or(kBicubic);
  if (filter != kBicubic)
    fail(p.where("resample"), " is ", filter, "; only ", kBicubic, " (bicubic) is supported");
}

/// `size`: {"height": R, "width": R}, or one number.
int64_t read_size(const JsonObject& p, int64_t otherwise) {
  constexpr int64_t kMaxPixels = 1 << 14;
  if (!p.has("size") || p.is_null("size")) return otherwise;
  if (!p.at("size").is_object()) return p.required_int("size", 1, kMaxPixels);
  const JsonObject size = p.required_object("size");
  const int64_t height = size.required_int("height", 1, kMaxPixels);
  const int64_t width = size.required_int("width", 1, kMaxPixels);
  if (height != width) fail(p.where("size"), " is ", height, " by ", width, "; only squares are supported");
  return height;
}

/// Three equal numbers, or one.
double read_channels(const JsonObject& p, const char* field, double otherwise) {
  if (!p.has(field) || p.is_null(field)) return otherwise;
  if (!p.at(field).is_array()) return p.required_double(field);
  const std::vector<double> values = p.doubles(field);
  if (values.size() != 3) fail(p.where(field), " has ", values.size(), " numbers instead of 3");
  for (double value : values) {
    if (value != values[0]) {
      fail(p.where(field), " has ", values[0], " and ", value, "; only equal channels are supported");
    }
  }
  return values[0];
}

/// `image_processor_type`, and `use_fast`, which older releases and scripts speak of. The name that both
/// back ends share says nothing: each release takes the one it prefers.
ImageProcessor read_processor(const JsonObject& p) {
  const std::string type = p.optional_string("image_processor_type").value_or("SiglipImageProcessor");
  const auto use_fast = p.optional_bool("use_fast");
  if (use_fast) return *use_fast ? ImageProcessor::torchvision : ImageProcessor::pillow;
  if (type == "SiglipImageProcessorFast") return ImageProcessor::torchvision;
  if (type == "SiglipImageProcessorPil") return ImageProcessor::pillow;
  return ImageProcessor::automatic;
}

void check_type(const JsonObject& p) {
  const std::string type = p.optional_string("image_processor_type").value_or("SiglipImageProcessor");
  for (const char* known : {"SiglipImageProcessor", "SiglipImageProcessorFast", "SiglipImageProcessorPil"})
    if (type == known) return;
  fail(p.where("image_processor_type"), " is '", type,
       "'; known are SiglipImageProcessor, SiglipImageProcessorFast and SiglipImageProcessorPil");
}

ProcessorConfig read(const JsonObject& p, const ModelConfig& model) {
  check_type(p);
  check_steps(p);
  ProcessorConfig config = derived(model);
  config.processor = read_processor(p);
  // Without it transformers is given pictures that somebody else made RGB, which drops what is transparent.
  if (!p.optional_bool("do_convert_rgb").value_or(true)) config.alpha = Alpha::drop;
  config.image_size = read_size(p, config.image_size);
  if (config.image_size != model.vision.image_size) {
    fail(p.where("size"), " is ", config.image_size, ", but the model's vision_config.image_size is ",
         model.vision.image_size);
  }
  config.image_seq_length = p.optional_int("image_seq_length").value_or(config.image_seq_length);
  if (config.image_seq_length != model.vision.tokens()) {
    fail(p.where("image_seq_length"), " is ", config.image_seq_length, ", but the model makes ",
         model.vision.tokens(), " tokens of an image");
  }
  config.rescale = p.optional_double("rescale_factor").value_or(config.rescale);
  config.mean = read_channels(p, "image_mean", config.mean);
  config.std = read_channels(p, "image_std", config.std);
  if (!p.optional_bool("do_rescale").value_or(true)) config.rescale = 1;
  if (!p.optional_bool("do_normalize").value_or(true))
    config.normalises = false, config.mean = 0, config.std = 1;
  // Magnitudes that a float32 still holds after the division; anything near them is a mistake.
  constexpr double kMax = 1e6;
  const double rescale = std::abs(config.rescale);
  if (!(rescale >= 1 / kMax && rescale <= kMax)) fail(p.where("rescale_factor"), " is ", config.rescale);
  if (!(std::abs(config.mean) <= kMax)) fail(p.where("image_mean"), " is ", config.mean);
  if (!(config.std >= 1 / kMax && config.std <= kMax)) fail(p.where("image_std"), " is ", config.std);
  return config;
}

}  // namespace

ProcessorConfig parse_processor_config(std::string_view text, const std::string& source, bool nested,
                                       const ModelConfig& model) {
  const auto json = parse_json(text, source);
  const JsonObject top(json, source);
  if (!nested) return read(top, model);
  const auto inner = top.optional_object("image_processor");
  return inner ? read(*inner, model) : derived(model);
}

ProcessorConfig read_processor_config(const std::filesystem::path& folder_or_file, const ModelConfig& model) {
  const auto newer = folder_or_file / "processor_config.json";
  const auto older = folder_or_file / "preprocessor_config.json";
  if (std::filesystem::exists(newer)) {
    const std::string text = read_text_file(newer, kMaxConfigBytes);
    // 4.x writes this file too, with hardly more than the class's name; then the older one has the fields.
    const auto json = parse_json(text, newer.string());
    const bool has_fields = JsonObject(json, newer.string()).optional_object("image_processor").has_value();
    if (has_fields) return parse_processor_config(text, newer.string(), true, model);
  }
  if (!std::filesystem::exists(older)) return derived(model);
  return parse_processor_config(read_text_file(older, kMaxConfigBytes), older.string(), false, model);
}

}  // namespace lapidary
