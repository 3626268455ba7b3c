#include "coordinator/cli/engine.h"

#include <algorithm>

#include "configs/error.h"
#include "configs/model/numerics.h"
#include "sharding/comm/launch_environment.h"

namespace lapidary {

void add_engine_flags(CLI::App& command, EngineFlags& flags) {
  EngineOptions& engine = flags.engine;
  std::string profiles;
  for (const NumericsProfile& profile : numerics_profiles())
    profiles += cat("\n  ", profile.name, ": ", profile.summary);

  command.add_option("--model", engine.model, "Checkpoint folder as on the Hugging Face hub")->required();
  command
      .add_option(
          "--load-format", engine.load_format,
          "auto: read the checkpoint; dummy: weights made in memory from tensor names (--model may then be "
          "a config file)")
      ->check(CLI::IsMember({"auto", "dummy"}))
      ->capture_default_str();
  command.add_option("--dtype", engine.dtype, "Weights and KV cache; auto: as config.json says")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}))
      ->capture_default_str();
  command
      .add_option(
          "--quantization", engine.quantization,
          "fp8: the decoder's matrices as float8 (e4m3) with a scale a channel; none: as --dtype says")
      ->check(CLI::IsMember({"none", "fp8"}))
      ->capture_default_str();
  command.add_option("--profile", engine.profile, "Numerics, as computed by" + profiles)
      ->capture_default_str();
  command
      .add_option("--tp,--tensor-parallel-size", flags.mesh.tp,
                  "Ranks that share each layer (default: all processes that mpirun starts, over --pp)")
      ->check(CLI::PositiveNumber);
  command.add_option("--pp,--pipeline-parallel-size", flags.mesh.pp, "Stages, each with a run of the layers")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--pp-layers", engine.pp_layers,
                  "Layers of each stage, such as 15,11 (default: as equal as the output head allows)")
      ->delimiter(',');
  command
      .add_option("--threads", engine.threads,
                  "CPU threads of each rank; 0: its share of the cores it may use")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option(
          "--device", engine.device,
          "cpu; cuda: each rank the GPU of its number on its host; cuda:N: GPU N; auto: cuda where there "
          "is one")
      ->capture_default_str();
  command.add_flag("--deterministic", engine.deterministic,
                   "GPU: the same bits on any number of ranks and in any batch, as CPUs always give; slower");
  command
      .add_option("--vision-gpu-share", engine.vision_gpu_share,
                  "GPU: percent of its multiprocessors that the vision tower fills beside a decoder, which "
                  "finds the others free")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command.add_flag("!--no-early-start", engine.early_start,
                   "GPU: start each kernel when the one in front has ended, to measure what it costs");
  command
      .add_option(
          "--prefill-kernel", engine.prefill,
          "GPU: what attends the rows of a prefill: warps; warpgroups, which an H100 has; or measured: "
          "what is faster at start, on made-up numbers (warps with --deterministic)")
      ->envname("LAPIDARY_PREFILL_KERNEL")
      ->check(CLI::IsMember({"measured", "warps", "warpgroups"}))
      ->capture_default_str();
  command.add_flag("--test-shared-gpu", engine.shared_gpu, "Let ranks share a GPU, slowly; for tests");
  command.add_option("--isa", engine.isa, "Instruction set of the CPU kernels")
      ->check(CLI::IsMember({"auto", "amx", "avx512-bf16", "avx512", "avx2", "portable"}))
      ->capture_default_str();
  command.add_option("--max-num-seqs", engine.max_num_seqs, "Sequences that run at once")
      ->capture_default_str();
  command
      .add_option(
          "--max-model-len", engine.max_model_len,
          "Tokens of one sequence, image and generated ones included; 0: one image, 128 of prompt, 256 new")
      ->capture_default_str();
  command
      .add_option("--max-num-batched-tokens", engine.max_num_batched_tokens,
                  "New tokens of one step; 0: one whole sequence, at least 2048")
      ->capture_default_str();
}

void add_replica_flags(CLI::App& command, EngineFlags& flags) {
  command
      .add_option("--replicas,--dp,--data-parallel-size", flags.mesh.replicas,
                  "Whole models, which share the work")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option(
          "--vision-ranks", flags.mesh.vision_ranks,
          "Ranks of each replica that only encode pictures; 0: the first stage's do it beside decoding")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--image-workers", flags.image_workers,
                  "Threads of each rank that read and decode pictures; 0: its share of the cores, at most 8")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option(
          "--vision-threads", flags.engine.vision_threads,
          "CPU threads with which a rank encodes pictures; 0: its share of the cores, half of it on a "
          "rank that also decodes")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

std::vector<std::string> arguments_of(const EngineFlags& flags) {
  const EngineOptions& e = flags.engine;
  std::string layers;
  for (const int64_t count : e.pp_layers) layers += (layers.empty() ? "" : ",") + std::to_string(count);
  std::vector<std::string> arguments;
  const auto add = [&](const char* flag, const std::string& value) {
    arguments.insert(arguments.end(), {flag, value});
  };
  add("--model", e.model.string());
  add("--load-format", e.load_format);
  add("--dtype", e.dtype);
  add("--quantization", e.quantization);
  add("--profile", e.profile);
  add("--isa", e.isa);
  add("--device", e.device);
  if (e.deterministic) arguments.push_back("--deterministic");
  if (!e.early_start) arguments.push_back("--no-early-start");
  add("--prefill-kernel", e.prefill);
  if (e.shared_gpu) arguments.push_back("--test-shared-gpu");
  add("--tp", std::to_string(flags.mesh.tp));
  add("--pp", std::to_string(flags.mesh.pp));
  if (!layers.empty()) add("--pp-layers", layers);
  add("--replicas", std::to_string(flags.mesh.replicas));
  add("--vision-ranks", std::to_string(flags.mesh.vision_ranks));
  add("--threads", std::to_string(e.threads));
  add("--image-workers", std::to_string(flags.image_workers));
  add("--vision-threads", std::to_string(e.vision_threads));
  add("--vision-gpu-share", std::to_string(e.vision_gpu_share));
  add("--max-num-seqs", std::to_string(e.max_num_seqs));
  add("--max-model-len", std::to_string(e.max_model_len));
  add("--max-num-batched-tokens", std::to_string(e.max_num_batched_tokens));
  return arguments;
}

Mesh mesh_of(const EngineFlags& flags, int processes) {
  Mesh mesh = flags.mesh;
  if (mesh.tp == 0)  // too few or an uneven number: check_mesh says so
    mesh.tp =
        std::max(1, (processes / std::max(1, mesh.replicas) - mesh.vision_ranks) / std::max(1, mesh.pp));
  check_mesh(mesh, processes);
  return mesh;
}

std::unique_ptr<Communicator> start_ranks(const EngineFlags& flags, const char* command) {
  if (flags.mesh.pp != 1)
    fail("--pp is ", flags.mesh.pp, ", but `lapidary ", command,
         "` runs the model as one stage: use --tp, or see every stage's part of it with `lapidary inspect`");
  auto comm = started_by_mpi() ? make_mpi() : make_solo();
  if (flags.mesh.tp > 0 && flags.mesh.tp != comm->size())
    fail("--tp is ", flags.mesh.tp, ", but ", comm->size(),
         comm->size() == 1 ? " process was" : " processes were", " started; run it as: mpirun -np ",
         flags.mesh.tp, " lapidary …");
  return comm;
}

}  // namespace lapidary
