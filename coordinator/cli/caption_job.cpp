#include "coordinator/cli/caption_job.h"

#include <algorithm>

#include "configs/error.h"
#include "coordinator/cli/model_door.h"
#include "coordinator/cli/worker.h"
#include "coordinator/records/fingerprint.h"
#include "coordinator/records/job_description.h"
#include "coordinator/telemetry/table.h"
#include "coordinator/text/prompt.h"
#include "worker/lanes/worker.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

/// The user's word, else the checkpoint's, else greedy.
wire::Sampling sampling_of(const CaptionOptions& options, const GenerationConfig& generation) {
  const bool asked = options.temperature || options.top_k || options.top_p;
  wire::Sampling sampling;
  if (!asked && !generation.do_sample) return sampling;
  const auto temperature = generation.do_sample ? static_cast<float>(generation.temperature) : 1.0f;
  sampling.set_temperature(options.temperature.value_or(temperature));
  sampling.set_top_k(
      options.top_k.value_or(generation.do_sample ? static_cast<int32_t>(generation.top_k) : 0));
  sampling.set_top_p(
      options.top_p.value_or(generation.do_sample ? static_cast<float>(generation.top_p) : 1.0f));
  sampling.set_seed(options.seed);
  return sampling;
}

CaptionSettings settings_of(const CaptionOptions& options, const GenerationConfig& generation) {
  CaptionSettings settings;
  settings.prompt = options.prompts.front();
  settings.max_new_tokens = options.max_new_tokens.value_or(generation.max_new_tokens.value_or(64));
  settings.sampling = sampling_of(options, generation);
  auto eos = std::make_shared<std::vector<int32_t>>();
  if (!options.ignore_eos) eos->assign(generation.eos.begin(), generation.eos.end());
  settings.eos = std::move(eos);
  return settings;
}

/// An output that is also read would be emptied before its turn, and annotations are made of records in
/// files.
void check_outputs(const CaptionOptions& options) {
  std::error_code ignored;
  const fs::path& annotations = options.sinks.annotations;
  for (const std::string& input : options.inputs) {
    if (!options.output.empty() && fs::equivalent(options.output, input, ignored))
      fail("--output ", options.output.string(), " is one of the inputs");
    if (!annotations.empty() && fs::equivalent(annotations, input, ignored))
      fail("--annotations ", annotations.string(), " is one of the inputs");
  }
  if (annotations.empty()) return;
  if (options.output.empty()) fail("--annotations needs --output: they are made of the records there");
  const auto place = [&](const fs::path& file) { return fs::weakly_canonical(fs::absolute(file), ignored); };
  if (place(annotations) == place(options.output))
    fail("--annotations and --output are the same file, ", annotations.string());
}

fs::path tokenizer_file(const CaptionOptions& options) {
  const fs::path& given = options.tokenizer.empty() ? options.flags.engine.model : options.tokenizer;
  return fs::is_directory(given) ? given / "tokenizer.json" : given;
}

/// Everything that a record depends on. Layouts and speeds are not among it.
JobOptions job_options(const CaptionOptions& options, const Setup& setup) {
  const CaptionSettings& settings = setup.settings;
  JobOptions job;
  job.format = options.output_format;
  job.records_a_part = options.records_a_part;
  job.retry_failed = options.retry_failed;
  job.default_prompt = settings.prompt;
  const EngineOptions& engine = options.flags.engine;
  const auto sampling = cat("temperature ", settings.sampling.temperature(), ", top_k ",
                            settings.sampling.top_k(), ", top_p ", settings.sampling.top_p(), ", seed ",
                            settings.sampling.temperature() > 0 ? settings.sampling.seed() : 0);
  const auto beside_weights = [&](const char* name) {
    return fs::is_directory(engine.model) ? engine.model / name : fs::path();
  };
  std::string prompts;
  for (const std::string& prompt : options.prompts) prompts += (prompts.empty() ? "" : " | ") + prompt;
  job.fingerprint = {
      {"model",
       cat(fingerprint_of_model(engine.model), engine.load_format == LoadFormat::dummy ? " (dummy)" : "")},
      {"tokenizer.json", fingerprint_of_file(tokenizer_file(options))},
      {"preprocessor_config.json", fingerprint_of_file(beside_weights("preprocessor_config.json"))},
      {"processor_config.json", fingerprint_of_file(beside_weights("processor_config.json"))},
      {"generation_config.json", fingerprint_of_file(beside_weights("generation_config.json"))},
      {"prompt", prompts},
      {"max_new_tokens", std::to_string(settings.max_new_tokens)},
      {"sampling", sampling},
      {"ignore_eos", options.ignore_eos ? "yes" : "no"},
      {"dtype", name_of(resolve_dtype(engine.dtype, setup.config))},
      {"profile", engine.profile},
      {"format", enum_name(options.output_format)}};
  // Only where they are asked for: jobs from before there was a choice go on.
  if (const fs::path& decoder = options.sinks.mask_decoder; !decoder.empty())
    job.fingerprint.emplace_back("mask-decoder", fingerprint_of_file(decoder));
  for (auto& [name, value] : kept_of(options.flags))
    if (name != "load-format") job.fingerprint.emplace_back(name, std::move(value));
  return job;
}

InputRules input_rules(const CaptionOptions& options, ByteBudget& read_ahead) {
  InputRules rules;
  rules.budget = &read_ahead;
  if (options.prompts.size() > 1) rules.prompts = options.prompts;
  rules.strict = options.strict;
  if (names_job_folder(options.output)) rules.known = sources_of_job(options.output);
  return rules;
}

}  // namespace

Setup set_up(CaptionOptions& options) {
  EngineOptions& engine = options.flags.engine;
  KnownModel model = know_model(options.flags);
  Setup setup{std::move(model.config), settings_of(options, model.generation), std::move(model.remarks)};
  const ModelConfig& config = setup.config;
  size_t longest = 0;
  for (const std::string& prompt : options.prompts) longest = std::max(longest, prompt.size());
  if (engine.max_model_len == 0)
    engine.max_model_len =
        std::min(config.text.max_position_embeddings,
                 config.vision.tokens() + std::max<int64_t>(128, static_cast<int64_t>(longest) + 2) +
                     setup.settings.max_new_tokens);
  fit_capacity(engine, config);
  return setup;
}

Job::Job(const CaptionOptions& options, const Setup& setup)
    : config_(setup.config),
      tokenizer_(
          Tokenizer::from_file(options.tokenizer.empty() ? options.flags.engine.model : options.tokenizer)),
      max_model_len_(options.flags.engine.max_model_len),
      longest_piece_(tokenizer_.longest_piece()),
      read_ahead_(image_memory(bytes_of_images(options.flags)).read_ahead,
                  "of pictures read ahead (an eighth of --image-memory-gb)"),
      inputs_(options.inputs, input_rules(options, read_ahead_)),
      keys_(inputs_.only_tars()) {
  check_outputs(options);
  for (const std::string& prompt : options.prompts)
    this->prefix(1, prompt);  // a tokenizer of another model is found here
  if (names_job_folder(options.output)) {
    JobOptions job = job_options(options, setup);
    job.shards = inputs_.shards();
    job.sources = inputs_.labelled();
    job.only_tars = inputs_.only_tars();
    folder_.emplace(options.output, job);
  } else {
    if (options.output_format == OutputFormat::webdataset)
      fail("--output-format webdataset needs a folder as --output");
    if (options.retry_failed)
      fail("--retry-failed needs a folder as --output, with the records of an earlier run");
    lines_.emplace(options.output);
    const bool shared = options.output.empty();
    line_sink_ = std::make_unique<LineSink>(*lines_, [this, shared] {
      if (shared && make_way_) make_way_();
    });
  }
  RecordSink& output = folder_ ? static_cast<RecordSink&>(*folder_) : *line_sink_;
  sinks_.emplace(output, options.sinks, [this, file = options.output] {
    return folder_ ? folder_->files() : std::vector<fs::path>{file};
  });
  counter_ = std::thread([this, sources = options.inputs, prompts = options.prompts.size()] {
    total_ = count_items(sources, prompts, cancelled_).value_or(0);
  });
}

Job::~Job() {
  cancelled_ = true;
  counter_.join();
}

std::optional<DatasetItem> Job::next() {
  while (!inputs_ended_) {
    auto item = inputs_.next();
    for (const Shard& shard : inputs_.ended_shards())
      if (folder_) folder_->end_shard(shard);
    if (item && item->broken_source && broken_++ == 0) first_broken_ = *item->error;
    inputs_ended_ = !item;
    if (!item) break;
    if (!folder_) keys_.name(*item);
    const bool done = folder_ && folder_->take_if_done(*item);
    sinks_->name(*item, done);
    if (!folder_) return item;
    if (done) {
      ++before_;
      continue;
    }
    judge(*item);
    if (!item->alone || holds_bytes(*item)) return item;
    suspects_.push_back(std::move(*item));
  }
  return next_suspect();
}

/// Such items do not come last: waiting, they would keep from the others the memory to be read.
bool Job::holds_bytes(const DatasetItem& item) {
  return std::any_of(item.images.begin(), item.images.end(),
                     [](const PictureSource& image) { return !image->data().empty(); });
}

std::optional<DatasetItem> Job::next_suspect() {
  if (suspects_.empty()) return std::nullopt;
  auto item = std::optional(std::move(suspects_.front()));
  suspects_.pop_front();
  return item;
}

/// By what earlier runs crashed at.
void Job::judge(DatasetItem& item) {
  if (item.error) return;
  const Suspicion suspicion = folder_->suspicion(item);
  item.alone = suspicion == Suspicion::suspect;
  if (suspicion == Suspicion::guilty)
    item.error =
        "given up: a run crashed while it worked on this item and others, and the next one while it "
        "worked on this one alone; --retry-failed tries it again";
}

std::vector<std::string> Job::remarks() const {
  std::vector<std::string> remarks;
  if (const int64_t numbered = folder_ ? folder_->numbered_keys() : keys_.numbered(); numbered > 0)
    remarks.push_back(cat(numbered, numbered == 1 ? " key was" : " keys were",
                          " there before, and got a number behind (\"KEY#2\")"));
  if (const std::string text = inputs_.left_out().text(); !text.empty())
    remarks.push_back("left out: " + text);
  if (const int64_t most = read_ahead_.most_held(); most > 0)
    remarks.push_back(cat("pictures read ahead held ", bytes_text(static_cast<double>(most)), " of ",
                          bytes_text(static_cast<double>(read_ahead_.all())), " at most"));
  for (std::string& remark : sinks_->remarks()) remarks.push_back(std::move(remark));
  return remarks;
}

void Job::cancel() {
  cancelled_ = true;
  inputs_.cancel();
}

std::vector<int32_t> Job::prefix(int64_t images, const std::string& prompt) const {
  require_short_prompt(prompt, max_model_len_, longest_piece_);
  auto ids = prefix_ids(tokenizer_, config_.image_token_id, images, 1, prompt);
  require_known_ids(ids, tokenizer_, config_);
  return ids;
}

}  // namespace lapidary
