#include "coordinator/cli/bench/model.h"

#include <array>
#include <cstdio>
#include <cstdlib>

#include "configs/error.h"
#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/model_door.h"
#include "coordinator/cli/option_table.h"
#include "sharding/comm/shadow_comm.h"

namespace lapidary {
namespace {

/// Sequences of one prompt, noise images and arbitrary text, in KV pages of their own. Without `images` there
/// is text in their place: as many rows.
wire::Step prefill_step(const ModelConfig& config, const ModelBench& bench, const Capacity& capacity,
                        int sequences, bool images = true, int first = 0) {
  wire::Step step;
  const int64_t pages = capacity.num_kv_pages() / capacity.max_num_seqs();
  for (int s = first; s < first + sequences; ++s) {
    wire::Prefill& prefill = *step.add_prefills();
    prefill.set_sequence(s);
    for (int i = 0; images && i < bench.images; ++i) {
      prefill.add_images()->set_rgb(noise_image(config, i));
      prefill.add_ids(static_cast<int32_t>(config.image_token_id));
    }
    const int64_t text = bench.prompt_tokens + (images ? 0 : bench.images * config.vision.tokens());
    for (int64_t i = 0; i < text; ++i) prefill.add_ids(static_cast<int32_t>(4 + i * 37 % 200));
    for (int64_t p = 0; p < pages; ++p) prefill.add_pages(static_cast<int32_t>(s * pages + p));
  }
  return step;
}

/// Runs the prefills of `first`, then decodes all of its sequences; the seconds of each decode step.
std::vector<double> generate(Engine& engine, const wire::Step& first, int tokens,
                             std::vector<std::vector<int32_t>>& generated) {
  std::vector<double> seconds;
  wire::Step step;
  for (const wire::Prefill& prefill : first.prefills()) step.add_decodes(prefill.sequence());
  generated.assign(static_cast<size_t>(step.decodes_size()), {});
  wire::StepDone done = engine.run(first);
  for (int t = 0; t < tokens; ++t) {
    for (int s = 0; s < done.tokens_size(); ++s) generated[static_cast<size_t>(s)].push_back(done.tokens(s));
    seconds.push_back(seconds_of([&] { done = engine.run(step); }));
  }
  return seconds;
}

/// Prefills so many prompts, one after the other, and gives the step that decodes them all.
wire::Step prefilled(const ModelBench& bench, const ModelConfig& config, Engine& engine, int sequences) {
  wire::Step step;
  for (int s = 0; s < sequences; ++s) {
    engine.run(prefill_step(config, bench, engine.capacity(), 1, false, s));
    step.add_decodes(s);
  }
  return step;
}

/// A decode step. On a processor that others use, too, the median of single steps; a device is given the next
/// one while it works, so there all are timed as a whole.
double time_decode(const ModelBench& bench, const ModelConfig& config, Engine& engine, int sequences) {
  const wire::Step step = prefilled(bench, config, engine, sequences);
  if (engine.backend().on_host()) {
    std::vector<double> seconds;
    for (int t = 0; t < bench.new_tokens; ++t) seconds.push_back(seconds_of([&] { engine.run(step); }));
    return median(seconds);
  }
  const int warm = bench.new_tokens / 2, timed = bench.new_tokens - warm;
  run_decodes(engine, step, warm);
  return seconds_of([&] { run_decodes(engine, step, timed); }) / timed;
}

/// The same prompt alone and beside another. The tokens must be equal where sums do not depend on the batch.
/// Elsewhere two of nearly equal logits may change places, but not all do.
void check_tokens(const ModelBench& bench, const ModelConfig& config, Engine& engine, bool prints) {
  std::vector<std::vector<int32_t>> alone, pair;
  generate(engine, prefill_step(config, bench, engine.capacity(), 1), 3, alone);
  generate(engine, prefill_step(config, bench, engine.capacity(), 2), 3, pair);
  if (pair.at(0) == alone.at(0) && pair.at(1) == alone.at(0)) return;
  const bool exact = engine.backend().on_host() || bench.flags.engine.deterministic;
  if (exact || pair.at(0).at(0) != alone.at(0).at(0))
    fail("the check failed: the same prompt gave other tokens in a batch of two than alone");
  if (prints)
    std::printf("# a token after the first differs in a batch of two: its logits are nearly equal\n");
}

/// On every rank, with the same steps.
void time_steps(const ModelBench& bench, const ModelConfig& config, Communicator& comm, Engine& engine,
                Timings& timings) {
  check_tokens(bench, config, engine, comm.rank() == 0);
  const wire::Step text = prefill_step(config, bench, engine.capacity(), bench.prefills, false);
  timings.prefill = median_seconds(bench.repeats, [&] {
    engine.run(text);
    engine.backend().synchronize();
  });
  for (const int sequences : bench.sequences)
    timings.decode.push_back({sequences, time_decode(bench, config, engine, sequences)});
  if (bench.together) {
    const wire::Step step = prefilled(bench, config, engine, bench.max_sequences());
    timings.together = time_together(engine, comm, bench.flags.engine, step, ModelBench::kTogetherSteps,
                                     engine.backend().on_host() ? 0.5 : 0.3);
  }
}

/// The vision tower alone, on every rank at once.
double time_vision(const ModelBench& bench, const ModelConfig& config, Engine& engine) {
  std::vector<std::string> images;
  std::vector<const uint8_t*> pixels;
  for (int i = 0; i < bench.tower_images(); ++i) images.push_back(noise_image(config, i));
  for (const std::string& rgb : images) pixels.push_back(reinterpret_cast<const uint8_t*>(rgb.data()));
  std::array<float, 256> value_of{};
  for (size_t i = 0; i < value_of.size(); ++i) value_of[i] = static_cast<float>(i) / 127.5f - 1;
  Workspace space(engine.backend());
  const Tensor out = space.make(bench.tower_images() * config.vision.tokens(), config.text.hidden_size);
  return median_seconds(bench.repeats, [&] {
    engine.model().encode(out, pixels, value_of.data());
    engine.backend().synchronize();
  });
}

/// What a decode step reads of the weights of all ranks: all but the vision tower's.
double decoder_bytes(Communicator& comm, Engine& engine) {
  const double mine =
      static_cast<double>(engine.memory().weights) -
      static_cast<double>(vision_weight_bytes(engine.config(), engine.model().plan(), engine.types().linear));
  double sum = 0;
  for (const std::string& text : gather_texts(comm, std::to_string(mine))) sum += std::atof(text.c_str());
  return sum;
}

int run_model(ModelBench bench) {
  const auto ranks = start_ranks(bench.flags, "bench model");
  if (bench.shard_of > 0 && ranks->size() > 1)
    fail("--shard-of times one rank alone, but ", ranks->size(), " processes were started");
  const auto shadow = bench.shard_of > 0 ? make_shadow(bench.shard_of) : nullptr;
  Communicator& comm = shadow ? *shadow : *ranks;
  KnownModel model;
  agree(comm, [&] {
    model = know_model(bench.flags);
    for (std::string& remark : check_tokenizer(bench.flags, model.config))
      model.remarks.push_back(std::move(remark));
  });
  if (comm.rank() == 0) print_remarks(model.remarks);
  const ModelConfig& config = model.config;
  EngineOptions& options = bench.flags.engine;
  options.max_num_seqs = std::max({2, bench.max_sequences(), bench.prefills});
  options.shared_vision = true;
  options.max_model_len = config.vision.tokens() * bench.images + bench.prompt_tokens + bench.room() + 8;
  options.max_num_batched_tokens = std::max(2, bench.prefills) * options.max_model_len;
  Timings timings;
  std::optional<Engine> engine;
  Group group = one_stage(comm);
  if (shadow) group.make_rows = [](Communicator& host, Backend& ops) { return make_shadow_rows(host, ops); };
  timings.load = seconds_of([&] { engine.emplace(options, config, group); });
  if (comm.rank() == 0)
    std::printf("# %s: %d image(s) of %lld px, %d prompt tokens; %s; ready after %.1f s\n",
                options.model.filename().c_str(), bench.images,
                static_cast<long long>(config.vision.image_size), bench.prompt_tokens,
                engine->describe().c_str(), timings.load);
  time_steps(bench, config, comm, *engine, timings);
  if (bench.shard_of > 0) {
    print_shard(bench, config, timings);
    return 0;
  }
  timings.vision = time_vision(bench, config, *engine);
  print_memory(comm, *engine);  // before the limits, whose data would count
  const double weights = decoder_bytes(comm, *engine);
  const ModelWork work(config, bench.images, bench.prompt_tokens, bench.new_tokens);
  const Roofline limits = measure_roofline(comm, engine->backend(), config, engine->types().linear,
                                           options.isa, static_cast<int64_t>(work.rows) * bench.prefills,
                                           bench.tower_images() * config.vision.tokens());
  if (comm.rank() == 0)
    print_speed(bench, config, timings, limits, weights,
                static_cast<double>(size_of(engine->types().linear)));
  return 0;
}

}  // namespace

void add_bench_model(CLI::App& bench, SelectedCommand& chosen) {
  auto options = std::make_shared<ModelBench>();
  CLI::App& command = *bench.add_subcommand("model", "End to end: vision, prefill and decode of one prompt");
  add_engine_flags(command, options->flags);
  command.add_option("--images", options->images, "Images in the prompt")
      ->check(between(1, 16))
      ->capture_default_str();
  command.add_option("--prompt-tokens", options->prompt_tokens, "Text tokens in the prompt")
      ->check(between(1, 4096))
      ->capture_default_str();
  command.add_option("--new-tokens", options->new_tokens, "Decode steps that are timed")
      ->check(between(1, 4096))
      ->capture_default_str();
  command.add_option("--repeats", options->repeats, "Timed runs of each part")
      ->check(between(1, 1000))
      ->capture_default_str();
  command.add_option("--sequences", options->sequences, "Sequences that decode together, such as 1,32")
      ->check(between(1, 256))
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--prefills", options->prefills, "Prompts of the timed prefill step")
      ->check(between(1, 64))
      ->capture_default_str();
  command
      .add_option("--vision-images", options->vision_images,
                  "Images that the vision tower is timed on; 0: those of a prompt")
      ->check(between(0, 256))
      ->capture_default_str();
  command
      .add_option("--shard-of", options->shard_of,
                  "Time rank 0's part of so many tensor-parallel ranks alone; their all-reduces are modelled")
      ->check(between(2, 16));
  command.add_flag("--together", options->together, "Also time a vision tower beside decode steps");
  add_figure_flags(command, options->figures);
  when_selected(command, chosen, [options] { return run_model(*options); });
}

}  // namespace lapidary
