#include <array>
#include <cstdio>
#include <optional>

#include "configs/error.h"
#include "configs/model/image_steps.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/model_door.h"
#include "coordinator/cli/option_table.h"
#include "coordinator/text/prompt.h"
#include "coordinator/text/tokenizer.h"
#include "worker/engine/tracer.h"
#include "worker/images/prepare.h"

namespace lapidary {
namespace {

struct TraceOptions {
  EngineFlags flags;
  std::vector<std::filesystem::path> images;
  std::string prompt = "caption en";
  int64_t max_new_tokens = 16;
  bool ignore_eos = false;
  std::filesystem::path output;
};

/// RGB8 pixels of a picture at the model's size, as bytes.
std::string model_pixels(const std::filesystem::path& path, const ImageSteps& steps) {
  const PreparedImage image = prepare_image_file(path, steps);
  return {image.rgb.begin(), image.rgb.end()};
}

/// [images, 3, size, size] as the vision tower sees them.
void add_pixel_values(Tracer& tracer, const std::vector<std::string>& images, const ImageSteps& steps) {
  const auto value_of = value_table(steps);
  std::vector<float> values;
  for (const std::string& rgb : images)
    for (size_t channel = 0; channel < 3; ++channel)
      for (size_t i = channel; i < rgb.size(); i += 3)
        values.push_back(value_of[static_cast<uint8_t>(rgb[i])]);
  tracer.add_floats("pixel_values", {static_cast<int64_t>(images.size()), 3, steps.side, steps.side},
                    std::move(values));
}

TraceRequest read_request(const TraceOptions& options, const KnownModel& model, const ImageSteps& steps,
                          const Tokenizer& tokenizer) {
  const ModelConfig& config = model.config;
  TraceRequest request;
  for (const auto& path : options.images) request.images.push_back(model_pixels(path, steps));
  request.prefix = prefix_ids(tokenizer, config, static_cast<int64_t>(options.images.size()), options.prompt);
  request.max_new_tokens = options.max_new_tokens;
  if (!options.ignore_eos) request.eos = model.generation.eos;
  return request;
}

int run_trace(TraceOptions options) {
  const auto comm = start_ranks(options.flags, "trace");
  KnownModel model;
  agree(*comm, [&] { model = know_model(options.flags); });  // each rank reads on its own host
  const ModelConfig& config = model.config;
  EngineOptions& engine_options = options.flags.engine;
  const auto images = static_cast<int64_t>(options.images.size());
  if (engine_options.max_model_len == 0)  // room for what is traced, and no more
    engine_options.max_model_len = std::min(config.text.max_position_embeddings,
                                            images * config.vision.tokens() + 512 + options.max_new_tokens);
  engine_options.max_num_seqs = 1;
  engine_options.shared_vision = true;
  Engine engine(engine_options, config, one_stage(*comm));

  const ImageSteps steps =
      image_steps(engine_options.model, config, engine_options.profile, engine_options.images);
  std::optional<Tokenizer> tokenizer;
  TraceRequest request;
  agree(*comm, [&] {
    tokenizer.emplace(Tokenizer::from_file(engine_options.model / "tokenizer.json"));
    request = read_request(options, model, steps, *tokenizer);
  });
  const bool writes = comm->rank() == 0;
  if (writes) {
    print_remarks(model.remarks);
    print_remarks(tokenizer->remarks());
  }
  Tracer tracer;
  const std::vector<int32_t> tokens = trace(engine, request, writes ? &tracer : nullptr);
  if (!writes) return 0;
  add_pixel_values(tracer, request.images, steps);
  tracer.add_ints("prompt_ids", request.prefix);
  tracer.add_ints("token_ids", tokens);
  tracer.write(options.output);
  std::printf("%s\n", tokenizer->decode(tokens, true).c_str());
  return 0;
}

}  // namespace

void add_trace_command(CLI::App& app, SelectedCommand& chosen) {
  auto options = std::make_shared<TraceOptions>();
  CLI::App& command = *app.add_subcommand(
      "trace", "Run one prompt and write every named intermediate tensor to a safetensors file");
  add_engine_flags(command, options->flags);
  command.add_option("--image", options->images, "Pictures of the prompt, in order (JPEG, PNG, WebP)")
      ->required();
  command.add_option("--prompt", options->prompt, "Text after the images")->capture_default_str();
  command.add_option("--max-new-tokens", options->max_new_tokens, "Tokens to generate at most")
      ->check(positive())
      ->capture_default_str();
  command.add_flag("--ignore-eos", options->ignore_eos, "Go on to --max-new-tokens past the end of the text");
  command.add_option("--output", options->output, "Safetensors file to write")->required();
  command.footer(
      "Tensors: pixel_values [images, 3, R, R]; vision.embeddings, vision.layers.I, vision.output [image "
      "tokens, "
      "width]; projector [image tokens, hidden]; decoder.embeddings, decoder.layers.I, decoder.norm [prefix "
      "+ generated "
      "- 1, hidden]; logits [generated, vocabulary]; prompt_ids, token_ids.");
  when_selected(command, chosen, [options] { return run_trace(*options); });
}

}  // namespace lapidary
