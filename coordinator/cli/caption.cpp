#include <cstdio>
#include <tuple>

#include "configs/error.h"
#include "coordinator/cli/caption_ranks.h"
#include "coordinator/cli/caption_run.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/option_table.h"
#include "coordinator/fleet/host_addresses.h"
#include "coordinator/fleet/token.h"
#include "kernels/thread_pool.h"
#include "sharding/comm/launch_environment.h"
#include "worker/control/parent_death.h"

namespace lapidary {
namespace {

/// The coordinator alone; each replica is a mpirun of its own, or started by hand.
int caption_with_fleet(CaptionOptions& options, StopSignal& stop) {
  const bool by_hand = !options.listen.empty();
  Mesh& mesh = options.flags.mesh;
  if (mesh.tp == 0) mesh.tp = 1;
  check_mesh(mesh, mesh.world());
  if (!by_hand && options.hostfile.empty()) check_local_ranks(mesh);
  const Setup setup = set_up(options);
  for (int rank = 0; rank < mesh.replica_ranks(); ++rank)
    check_coord(options.flags, setup.config, mesh, coord_of(mesh, rank));
  const std::string token = by_hand ? token_from_environment() : make_token();
  if (token.empty())
    fail("--listen needs a token that workers share, in the environment as ", kTokenVariable);
  CaptionCoordinator coordinator(options, setup, mesh, token, options.hostfile.empty(), stop);
  stop.defer();
  if (by_hand) {
    if (!options.quiet)
      std::fprintf(stderr, "listening on %s; workers, with the same %s in their environment:\n  %s\n",
                   coordinator.invitation().endpoints.front().c_str(), kTokenVariable,
                   coordinator.worker_by_hand().c_str());
  } else {
    coordinator.launch();
  }
  return coordinator.run();
}

/// Inputs that are not from the root begin there, and workers are started in it.
void check_working_folder() {
  std::error_code error;
  std::ignore = std::filesystem::current_path(error);
  if (error)
    fail("the working directory cannot be told (", error.message(), "): it was deleted; go to another one");
}

int run_caption(CaptionOptions options) {
  check_working_folder();
  StopSignal stop;
  if (const int tasks = tasks_apart(); tasks > 1)
    std::fprintf(
        stderr,
        "lapidary caption: the launcher has started %d tasks, and MPI knows of this one alone, so that each "
        "does all the work: srun needs --mpi=pmix\n",
        tasks);
  if (started_by_mpi()) {
    die_with_parent();
    if (!options.hostfile.empty() || !options.listen.empty())
      fail("--hostfile and --listen are for a coordinator of its own: start it without mpirun");
    return caption_here(options, stop);
  }
  Mesh mesh = options.flags.mesh;
  mesh.tp = std::max(1, mesh.tp);
  if (mesh.world() > 1 || !options.hostfile.empty() || !options.listen.empty())
    return caption_with_fleet(options, stop);
  return caption_here(options, stop);
}

// --- the command line

CLI::Validator listen_address() {
  return {[](const std::string& text) -> std::string {
            try {
              parse_listen_address(text);
              return {};
            } catch (const Error& error) {
              return error.what();
            }
          },
          "ADDRESS:PORT"};
}

void add_generation_options(CLI::App& command, CaptionOptions& options) {
  command
      .add_option("--prompt", options.prompts,
                  "Text after the image, for all that bring none of their own; several: a record for each")
      ->take_all()
      ->capture_default_str();
  command
      .add_option("--max-new-tokens", options.max_new_tokens,
                  "Tokens to generate at most (default: as generation_config.json says, else 64)")
      ->check(positive());
  command
      .add_option("--temperature", options.temperature,
                  "0: greedy (default, unless generation_config.json samples); 1 with --top-k or --top-p")
      ->check(between(0, 1000));
  command.add_option("--top-k", options.top_k, "Sample from the k likeliest tokens; 0: from all")
      ->check(non_negative());
  command
      .add_option("--top-p", options.top_p, "Sample from the likeliest tokens that make up this probability")
      ->check(between(1e-6, 1.0));
  command.add_option("--seed", options.seed, "Of the sampling; each item draws by seed, key and prompt")
      ->check(seed_number())
      ->capture_default_str();
  command.add_flag("--ignore-eos", options.ignore_eos, "Go on to --max-new-tokens past the end of the text");
}

void add_mask_options(CLI::App& command, SinkOptions& sinks) {
  command.add_option(
      "--mask-decoder", sinks.mask_decoder,
      "vae-oid.npz, which belongs to the checkpoints' segmentation tokens: boxes with such get a "
      "mask, as run lengths of the whole picture");
  command
      .add_option_function<std::vector<std::string>>(
          "--annotations",
          [&sinks](const std::vector<std::string>& words) {
            try {
              sinks.annotation_format = enum_named<AnnotationFormat>(words.front());
            } catch (const Error& error) {
              throw CLI::ValidationError("--annotations", error.what());
            }
            sinks.annotations = words.back();
          },
          "Another file to write when all records are there: coco FILE, a dataset of images, boxes, masks "
          "and "
          "labels as categories; all scores are 1, for the model gives none")
      ->expected(2)
      ->type_name("FORMAT FILE");
}

void add_output_options(CLI::App& command, CaptionOptions& options) {
  command.add_option(
      "--output", options.output,
      "A folder: the job's records in parts, resumed when the command is run again. A name that ends in "
      ".jsonl, or a file that is there: all records in input order, written anew (default: standard output)");
  add_enum_option(command, "--output-format", options.output_format,
                  "Of a folder: jsonl, parts of --records-per-part; webdataset, STEM.jsonl and "
                  "STEM_stats.json for each tar");
  command.add_option("--records-per-part", options.records_a_part, "Records of one part of a job folder")
      ->check(positive())
      ->capture_default_str();
  command.add_flag("--retry-failed", options.retry_failed,
                   "Make the records of a job folder that have an error again");
  command.add_flag(
      "--strict", options.strict,
      "End at the start where a tar or a line of a manifest is broken, instead of a record with an "
      "error; reads all manifests and the beginning of all tars");
  command.add_option("--draw", options.sinks.draw,
                     "Folder for PNGs of the images with masks, boxes and captions drawn in");
  add_mask_options(command, options.sinks);
  command.add_option(
      "--trace", options.trace,
      "Timeline of every rank's lanes to write (Chrome's and Perfetto's JSON); the summary then also states "
      "overlap and bubble");
  command.add_flag("--quiet", options.quiet, "Say nothing but errors");
}

void add_runtime_options(CLI::App& command, CaptionOptions& options) {
  add_enum_option(command, "--mode", options.mode,
                  "throughput: tokens are decoded in the steps of prefills; latency: prefills are cut into "
                  "groups of layers, "
                  "with decode steps between");
  command
      .add_option("--layer-group", options.layer_group,
                  "Layers of a prefill between two decode steps, in latency mode; 0: an eighth of them")
      ->check(non_negative())
      ->capture_default_str();
  command
      .add_option(
          "--steps-ahead", options.steps_ahead,
          "Steps that workers have been given at a time, so that they wait for no answer; 0: two a stage")
      ->check(non_negative(1024))
      ->capture_default_str();
  command
      .add_option("--step-deadline", options.step_deadline_seconds,
                  "Seconds in which a step or a picture must come back; a replica that is later, or silent "
                  "for that long (at "
                  "most 10 s), is dead")
      ->check(between(0.1, 1e6))
      ->capture_default_str();
  command.add_option(
      "--hostfile", options.hostfile,
      "Hosts of the replicas (\"host slots=8\" a line), each of which gets a mpirun of its own");
  command
      .add_option("--listen", options.listen,
                  "ADDRESS:PORT at which to wait for workers that are started by hand (`lapidary worker`); "
                  "the token that they share is in the environment as LAPIDARY_TOKEN")
      ->check(listen_address());
}

constexpr const char* kFooter =
    "Inputs: image files (JPEG, PNG, WebP); folders (all pictures below them, sorted by path, then the tars; "
    "names that\n"
    "begin with a dot are left out); globs and braces, also quoted ('shards/{00000..00999}.tar'); WebDataset "
    "tars, plain or\n"
    "compressed; JSONL manifests, a line {\"image\": PATH or [PATHS], \"prompt\": TEXT or [TEXTS], \"id\": "
    "NAME} "
    "each, of which\n"
    "only the image is needed (relative paths start at the manifest's folder); - for a list on standard "
    "input. The summary\n"
    "counts, by reason, what folders and tars hold beside pictures.\n\n"
    "Records are JSON lines: key, prompt, text, token_ids, status (ok or error), error, width, height, boxes "
    "[{label, xyxy\n"
    "in pixels}]. The key is a file as given; a path below the folder (with the folder before it where there "
    "are several\n"
    "inputs); the manifest's id, or the image as written (with the manifest's folder before it where there "
    "are several\n"
    "inputs); TAR/NAME for an entry of a tar. A key that was there before gets \"#2\" behind it. A picture "
    "that cannot be\n"
    "captioned becomes a record with an error, as does a broken tar or line of a manifest, and the rest goes "
    "on.\n\n"
    "A folder as --output is a job that may die at any moment: run the same command again, and it makes what "
    "is missing.\n"
    "Every item has exactly one record in the end; one at which the job crashes twice gets an error. Another "
    "model, prompt or\n"
    "setting in the same folder is refused.\n\n"
    "Several ranks, one job:        mpirun -np 16 lapidary caption --tp 8 --replicas 2 … (a death ends it; "
    "run it again)\n"
    "A mpirun a replica, restarted: lapidary caption --tp 8 --replicas 2 --hostfile HOSTS … (the job "
    "outlives them)\n\n"
    "Exit code: 0 when there is a record for every input, failed ones among them (the summary counts them); "
    "1 when all\n"
    "of them failed, an input was broken or the command could not go on; 2 for wrong usage; 130 or 143 after "
    "Ctrl-C or SIGTERM: "
    "finished\n"
    "records are written.";

}  // namespace

void add_caption_command(CLI::App& app, SelectedCommand& chosen) {
  auto options = std::make_shared<CaptionOptions>();
  CLI::App& command = *app.add_subcommand("caption", "Write captions, answers or boxes for images");
  add_engine_flags(command, options->flags);
  add_replica_flags(command, options->flags);
  command.get_option("--max-model-len")
      ->description(
          "Tokens of one sequence; 0: one image, --prompt or 128 tokens of it, and --max-new-tokens");
  command
      .add_option("--input,inputs", options->inputs,
                  "Image files, folders, globs, tars, JSONL manifests, or -")
      ->required();
  add_generation_options(command, *options);
  command.add_option("--tokenizer", options->tokenizer,
                     "tokenizer.json, or a folder with one (default: the model's)");
  add_output_options(command, *options);
  add_runtime_options(command, *options);
  command.footer(kFooter);
  when_selected(command, chosen, [options] { return run_caption(*options); });
}

}  // namespace lapidary
