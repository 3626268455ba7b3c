#include <cstdio>
#include <cstdlib>

#include "configs/error.h"
#include "coordinator/command_caption_job.h"
#include "coordinator/commands.h"
#include "coordinator/prompt.h"
#include "coordinator/stop_signal.h"
#include "coordinator/table.h"
#include "worker/resize.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;

/// A row a rank of what it has allocated; every rank calls it.
std::string memory_table(const Engine& engine, Communicator& comm) {
  const PaliGemma::Memory memory = engine.memory();
  const auto text = [](size_t bytes) { return bytes_text(static_cast<double>(bytes)); };
  const std::string mine = cat(memory.weights, " ", memory.kv, " ", memory.embeddings, " ", memory.workspace);
  std::vector<std::vector<std::string>> rows{
      {"memory", "weights", "KV pages", "embedding slots", "workspace", "total"}};
  size_t total = 0;
  for (const std::string& theirs : gather_texts(comm, mine)) {
    PaliGemma::Memory m{};
    std::istringstream(theirs) >> m.weights >> m.kv >> m.embeddings >> m.workspace;
    rows.push_back({cat("rank ", rows.size() - 1), text(m.weights), text(m.kv), text(m.embeddings),
                    text(m.workspace), text(m.total())});
    total += m.total();
  }
  if (comm.size() > 1) rows.push_back({"all", "", "", "", "", text(total)});
  return table_text(rows);
}

Limits limits_of(const Capacity& capacity) {
  return {capacity.sequences,   capacity.rows,  capacity.pages,
          KvShape::kPageTokens, capacity.slots, capacity.length};
}

LoadedImage load_image(const fs::path& path, int64_t size) {
  const Image image = read_image(path);
  const Image resized = resize_bicubic(image, static_cast<int>(size), static_cast<int>(size));
  return {image.width, image.height, {resized.rgb.begin(), resized.rgb.end()}};
}

/// Captioning on rank 0, from inputs to records.
class Leader {
 public:
  Leader(const CaptionOptions& options, Engine& engine, Job& job, const StopSignal& stop)
      : options_(options), engine_(engine), job_(job), stop_(stop), progress_(options.quiet) {}

  /// Gives the exit code.
  int caption(const CaptionSettings& settings) {
    Captioner captioner(settings, limits_of(engine_.model().capacity()), parts(), job_.pool);
    const Counts counts = captioner.caption(job_.inputs);
    job_.output.finish();
    if (job_.drawings) job_.drawings->finish();
    progress_.clear();
    if (!options_.quiet) std::fprintf(stderr, "%s\n", summary_text(counts, progress_.seconds()).c_str());
    if (stop_.caught() != 0) return exit_code_of_signal(stop_.caught());
    if (counts.failed > 0 && counts.failed == counts.done)
      fail(counts.failed == 1 ? "the image failed: "
                              : cat("all ", counts.failed, " images failed, the first one: "),
           first_error_);
    return 0;
  }

  /// Whether a step was begun that never ended.
  bool in_step() const { return in_step_; }

 private:
  CaptionParts parts() {
    const ModelConfig& config = engine_.model().config();
    CaptionParts parts;
    parts.load = [size = config.vision.image_size](const fs::path& path) { return load_image(path, size); };
    parts.prefix = [this, &config](int64_t images, const std::string& prompt) {
      return prefix_ids(job_.tokenizer, config, images, prompt);
    };
    parts.text = [this](std::span<const int32_t> ids) { return job_.tokenizer.decode(ids, true); };
    parts.run = [this](const wire::Step& step) { return run(step); };
    parts.write = [this](const Record& record, const Item& item) { write(record, item); };
    parts.progress = [this](const Counts& counts) { progress_.counts(counts); };
    parts.stop = [this] { return stop_.caught() != 0; };
    return parts;
  }

  wire::StepDone run(const wire::Step& step) {
    in_step_ = true;
    wire::StepDone done = engine_.lead(step);
    in_step_ = false;
    return done;
  }

  void write(const Record& record, const Item& item) {
    if (options_.output.empty()) progress_.clear();  // the terminal may be the same
    job_.output.write(to_json(record));
    if (record.error && first_error_.empty()) first_error_ = *record.error;
    if (job_.drawings && !record.error) job_.drawings->add(record, item);
  }

  const CaptionOptions& options_;
  Engine& engine_;
  Job& job_;
  const StopSignal& stop_;
  Progress progress_;
  std::string first_error_;
  bool in_step_ = false;
};

/// An error between two steps ends the followers in good order; one in the middle of a step leaves them
/// waiting for this rank, and only an abort ends them.
int lead(Leader& leader, const CaptionSettings& settings, Engine& engine, Communicator& comm) {
  std::string trouble;
  int code = 0;
  try {
    code = leader.caption(settings);
  } catch (const std::exception& e) {
    trouble = e.what();
  }
  if (leader.in_step() && comm.size() > 1) {
    std::fprintf(stderr, "lapidary caption: %s\n", trouble.c_str());
    comm.abort(1);
  } else if (!leader.in_step()) {
    wire::Step stop;
    stop.set_stop(true);
    engine.lead(stop);
  }
  if (!trouble.empty()) throw Error(trouble);
  return code;
}

int follow(Engine& engine, Communicator& comm) {
  try {
    engine.follow();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "lapidary caption: rank %d: %s\n", comm.rank(), e.what());
    comm.abort(1);
  }
  return 0;
}

int run_caption(CaptionOptions options) {
  StopSignal stop;
  const auto comm = start_ranks(options.flags);
  const bool leads = comm->rank() == 0;
  const bool quiet = options.quiet || !leads;
  if (options.image_workers == 0) options.image_workers = std::min(4, available_cores());

  Setup setup;
  std::unique_ptr<Job> job;
  agree(*comm, [&] {
    setup = set_up(options, *comm);
    if (leads) job = make_job(options, setup.config);
  });
  std::optional<Progress> loading(std::in_place, quiet);
  Engine engine(options.flags.engine, setup.config, *comm,
                [&](int64_t loaded, int64_t total) { loading->bytes("loading weights", loaded, total); });
  loading.reset();
  const std::string memory = memory_table(engine, *comm);
  if (!quiet) std::fprintf(stderr, "%s\n%s", engine.describe().c_str(), memory.c_str());
  stop.defer();
  if (!leads) return follow(engine, *comm);
  Leader leader(options, engine, *job, stop);
  return lead(leader, setup.settings, engine, *comm);
}

// --- the command line

void add_generation_options(CLI::App& command, CaptionOptions& options) {
  command
      .add_option("--prompt", options.prompt, "Text after the image, for all that bring none of their own")
      ->capture_default_str();
  command
      .add_option("--max-new-tokens", options.max_new_tokens,
                  "Tokens to generate at most (default: as generation_config.json says, else 64)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--temperature", options.temperature,
                  "0: greedy (default, unless generation_config.json samples); 1 with --top-k or --top-p")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--top-k", options.top_k, "Sample from the k likeliest tokens; 0: from all")
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--top-p", options.top_p, "Sample from the likeliest tokens that make up this probability")
      ->check(CLI::Range(1e-6, 1.0));
  command.add_option("--seed", options.seed, "Of the sampling; each item draws by seed, key and prompt")
      ->capture_default_str();
  command.add_flag("--ignore-eos", options.ignore_eos, "Go on to --max-new-tokens past the end of the text");
}

constexpr const char* kFooter =
    "Inputs are image files (JPEG, PNG, WebP), folders (all images below them, sorted by path; names that "
    "begin with a\n"
    "dot are left out) and JSONL manifests, a line {\"image\": PATH or [PATHS], \"prompt\": TEXT, \"id\": "
    "NAME} each, of\n"
    "which only the image is needed; relative paths start at the manifest's folder.\n\n"
    "Records are JSON lines in the order of the inputs: key (path below the folder, file as given, or id), "
    "prompt, text,\n"
    "token_ids, status (ok or error), error, width, height, boxes [{label, xyxy in pixels}]. An image that "
    "cannot be\n"
    "captioned becomes a record with an error, and the rest goes on.\n\n"
    "Exit code: 0 when there is a record for every input, failed ones among them (the summary counts them); "
    "1 when all\n"
    "of them failed or the command could not go on; 2 for wrong usage; 130 or 143 after Ctrl-C or SIGTERM: "
    "the running\n"
    "step ends, finished records are written.\n\n"
    "On several ranks: mpirun -np 2 lapidary caption --model DIR …";

}  // namespace

void add_caption_command(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<CaptionOptions>();
  CLI::App& command = *app.add_subcommand("caption", "Write captions, answers or boxes for images");
  add_engine_flags(command, options->flags);
  command.get_option("--max-model-len")
      ->description(
          "Tokens of one sequence; 0: one image, --prompt or 128 tokens of it, and --max-new-tokens");
  command.add_option("--input,inputs", options->inputs, "Image files, folders, JSONL manifests")->required();
  command.add_option("--output", options->output, "JSON lines to write (default: standard output)");
  add_generation_options(command, *options);
  command.add_option("--draw", options->draw,
                     "Folder for PNGs of the images with boxes and captions drawn in");
  command.add_option("--tokenizer", options->tokenizer,
                     "tokenizer.json, or a folder with one (default: the model's)");
  command
      .add_option("--image-workers", options->image_workers,
                  "Threads that read images; 0: one a core, at most 4")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_flag("--quiet", options->quiet, "Say nothing but errors");
  command.footer(kFooter);
  when_named(command, chosen, [options] { return run_caption(*options); });
}

}  // namespace lapidary
