#include "coordinator/command_engine.h"

#include "configs/error.h"
#include "configs/numerics.h"

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
  command.add_option("--profile", engine.profile, "Numerics, as computed by" + profiles)
      ->capture_default_str();
  command
      .add_option("--tp,--tensor-parallel-size", flags.tp,
                  "Ranks that share the model; must equal the processes mpirun starts (default: all of them)")
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--threads", engine.threads,
                  "CPU threads of each rank; 0: its share of the cores it may use")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
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

std::unique_ptr<Communicator> start_ranks(const EngineFlags& flags) {
  auto comm = started_by_mpi() ? make_mpi() : make_solo();
  if (flags.tp > 0 && flags.tp != comm->size())
    fail("--tp is ", flags.tp, ", but ", comm->size(), comm->size() == 1 ? " process was" : " processes were",
         " started; run it as: mpirun -np ", flags.tp, " lapidary …");
  return comm;
}

}  // namespace lapidary
