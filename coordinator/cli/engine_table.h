#pragma once

#include "configs/model/numerics.h"
#include "coordinator/cli/engine.h"
#include "coordinator/cli/option_table.h"

namespace lapidary {

inline std::string profiles_help() {
  std::string help = "Numerics, as computed by";
  for (const NumericsProfile& profile : numerics_profiles())
    help += cat("\n  ", profile.name, ": ", profile.summary);
  return help;
}

/// Far beyond what is built, so that no product of them overflows.
constexpr double kMostOfALayout = 256, kMostReplicas = 16384, kMostThreads = 4096, kMostSequences = 1 << 20;

/// "cuda" of "cuda:1": which GPU computes decides nothing.
inline std::string kind_of_device(const std::string& device) { return device.substr(0, device.find(':')); }

/// The table of the options that every command which runs a model has: visit(row, member) for each.
template <class Visitor>
void visit_engine_options(EngineFlags& flags, Visitor& visit) {
  EngineOptions& engine = flags.engine;
  visit({.flags = "--model",
         .help = "Checkpoint folder as on the Hugging Face hub",
         .required = true,
         .shows_default = false},
        engine.model);
  visit({.flags = "--load-format",
         .help = "auto: read the checkpoint; dummy: weights made in memory from tensor names (--model may "
                 "then be a config file)",
         .agreed = true,
         .kept = true},
        engine.load_format);
  visit(
      {.flags = "--generation-config",
       .help = "auto: generation_config.json says where a text ends and how it is sampled, unless an option "
               "does; none: config.json says where it ends, and tokens are the likeliest ones",
       .kept = true},
      flags.generation_config);
  visit({.flags = "--dtype",
         .help = "Weights and KV cache; auto: float32 where config.json says float32, or float16, which "
                 "float32 holds exactly; else bfloat16",
         .agreed = true},
        engine.dtype);
  visit({.flags = "--quantization",
         .help = "fp8: the decoder's matrices as float8 (e4m3) with a scale a channel; none: as --dtype says",
         .agreed = true,
         .kept = true},
        engine.quantization);
  visit({.flags = "--profile", .help = profiles_help(), .agreed = true}, engine.profile);
  visit(
      {.flags = "--image-processor",
       .help = "Whose pixels, bit by bit: transformers' processor with torchvision, or with pillow; auto: as "
               "the checkpoint names it, else as the release of --profile does",
       .agreed = true,
       .kept = true},
      engine.images.processor);
  visit(
      {.flags = "--alpha",
       .help = "Transparency: blended onto white or black, or dropped; auto: drop where the checkpoint says "
               "do_convert_rgb false, else as the release of --profile does",
       .agreed = true,
       .kept = true},
      engine.images.alpha);
  visit({.flags = "--orientation",
         .help = "exif: turn pictures as their EXIF data says; as-stored: leave them, as transformers does "
                 "with pictures it is handed",
         .agreed = true,
         .kept = true},
        engine.images.orientation);
  visit({.flags = "--tp,--tensor-parallel-size",
         .help = "Ranks that share each layer (default: all processes that mpirun starts, over --pp)",
         .check = positive(kMostOfALayout),
         .shows_default = false},
        flags.mesh.tp);
  visit({.flags = "--pp,--pipeline-parallel-size",
         .help = "Stages, each with a run of the layers",
         .check = positive(kMostOfALayout)},
        flags.mesh.pp);
  visit({.flags = "--pp-layers",
         .help = "Layers of each stage, such as 15,11 (default: as equal as the output head allows)",
         .delimiter = ',',
         .shows_default = false,
         .agreed = true},
        engine.pp_layers);
  visit({.flags = "--threads",
         .help = "CPU threads of each rank; 0: its share of the cores it may use",
         .check = non_negative(kMostThreads)},
        engine.threads);
  visit({.flags = "--device",
         .help = "cpu; cuda: each rank the GPU of its number on its host; cuda:N: GPU N; auto: cuda where "
                 "there is one",
         .agreed = true,
         .kept = true,
         .compared = kind_of_device},
        engine.device);
  visit({.flags = "--deterministic",
         .help = "GPU: the same bits on any number of ranks and in any batch, as CPUs always give; slower",
         .agreed = true,
         .kept = true},
        engine.deterministic);
  visit({.flags = "--vision-gpu-share",
         .help = "GPU: percent of its multiprocessors that the vision tower fills beside a decoder, which "
                 "finds the others free",
         .check = between(1, 100)},
        engine.vision_gpu_share);
  visit({.flags = "!--no-early-start",
         .help = "GPU: start each kernel when the one in front has ended, to measure what it costs"},
        engine.early_start);
  visit({.flags = "--prefill-kernel",
         .help = "GPU: what attends the rows of a prefill: warps; warpgroups, which an H100 has; or "
                 "measured: what is faster at "
                 "start, on made-up numbers (warps with --deterministic)",
         .environment = "LAPIDARY_PREFILL_KERNEL",
         .agreed = true,
         .kept = true},
        engine.prefill);
  visit({.flags = "--test-shared-gpu", .help = "Let ranks share a GPU, slowly; for tests"},
        engine.shared_gpu);
  visit({.flags = "--isa",
         .help = "Instruction set of the CPU kernels",
         .check = CLI::IsMember(
             std::vector<std::string>{"auto", "amx", "avx512-bf16", "avx512", "avx2", "portable"}),
         .agreed = true,
         .kept = true},
        engine.isa);
  visit({.flags = "--max-num-seqs",
         .help = "Sequences that run at once",
         .check = positive(kMostSequences),
         .agreed = true},
        engine.max_num_seqs);
  visit(
      {.flags = "--max-model-len",
       .help =
           "Tokens of one sequence, image and generated ones included; 0: one image, 128 of prompt, 256 new",
       .check = non_negative(),
       .agreed = true},
      engine.max_model_len);
  visit({.flags = "--max-num-batched-tokens",
         .help = "New tokens of one step; 0: one whole sequence, at least 2048",
         .check = non_negative(kMostSequences),
         .agreed = true},
        engine.max_num_batched_tokens);
}

/// The same of commands that run a whole dataset or a service.
template <class Visitor>
void visit_replica_options(EngineFlags& flags, Visitor& visit) {
  visit({.flags = "--replicas,--dp,--data-parallel-size",
         .help = "Whole models, which share the work",
         .check = positive(kMostReplicas)},
        flags.mesh.replicas);
  visit(
      {.flags = "--vision-ranks",
       .help = "Ranks of each replica that only encode pictures; 0: the first stage's do it beside decoding",
       .check = non_negative(kMostOfALayout)},
      flags.mesh.vision_ranks);
  visit({.flags = "--image-workers",
         .help = "Threads of each rank that read and decode pictures; 0: its share of the cores, at most 8",
         .check = non_negative(kMostThreads)},
        flags.image_workers);
  visit(
      {.flags = "--image-memory-gb",
       .help = "Memory of each process for pictures: an eighth each for those that are read ahead, on their "
               "way to "
               "a rank, and read from files, the rest for decoding; some wait where more is needed, and one "
               "that needs more alone is an error; 0: half of what the host has left, shared by its ranks",
       .check = non_negative()},
      flags.image_memory_gb);
  visit({.flags = "--vision-threads",
         .help = "CPU threads with which a rank encodes pictures; 0: its share of the cores, half of it on a "
                 "rank that also "
                 "decodes",
         .check = non_negative(kMostThreads)},
        flags.engine.vision_threads);
  visit({.flags = "--encoder-cache-slots",
         .help = "Pictures of each vision lane whose embeddings may wait for their prefill; 0: twice its "
                 "share of the sequences",
         .check = non_negative(kMostSequences),
         .agreed = true},
        flags.engine.encoder_cache_slots);
}

}  // namespace lapidary
