#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "configs/enum_names.h"
#include "configs/mesh.h"
#include "configs/model/image_steps.h"
#include "configs/model/model_config.h"
#include "kernels/cuda_options.h"
#include "sharding/checkpoint/tensor_source.h"
#include "worker/model/capacity.h"

namespace lapidary {

/// `automatic`: read the checkpoint; `dummy`: make weights from tensor names.
enum class LoadFormat { automatic, dummy };
template <>
struct EnumNames<LoadFormat> {
  static constexpr std::array kNames{"auto", "dummy"};
};
/// Of weights and KV cache; `automatic`: float32 where config.json says float32, or float16, of which
/// bfloat16 would round three bits away; else bfloat16.
enum class DTypeOption { automatic, float32, bfloat16 };
template <>
struct EnumNames<DTypeOption> {
  static constexpr std::array kNames{"auto", "float32", "bfloat16"};
};
/// `fp8`: the decoder's matrices are e4m3.
enum class Quantization { none, fp8 };
template <>
struct EnumNames<Quantization> {
  static constexpr std::array kNames{"none", "fp8"};
};
template <>
struct EnumNames<PrefillMode> {
  static constexpr std::array kNames{"warps", "warpgroups", "measured"};
};

/// What a rank is built from. All ranks of a job have the same.
struct EngineOptions {
  std::filesystem::path model;  // checkpoint folder; with dummy weights a config file will do
  LoadFormat load_format = LoadFormat::automatic;
  DTypeOption dtype = DTypeOption::automatic;
  Quantization quantization = Quantization::none;
  std::string profile = "hf";                   // numerics profile
  ImageChoice images;                           // how pictures are prepared
  std::string device = "cpu";                   // "cpu", "cuda", "cuda:1"; "auto": cuda where there is one
  bool shared_gpu = false;                      // ranks may share a GPU; for tests
  bool deterministic = false;                   // GPU: the bits of a sum do not depend on the number of ranks
  bool early_start = true;                      // GPU: kernels may start before the one in front has ended
  PrefillMode prefill = PrefillMode::measured;  // GPU: what attends the rows of a prefill
  int64_t overlap_min_rows = 1024;    // GPU: of a step, whose sums over ranks then go beside its products
  int64_t peer_sums = -1;             // GPU: NcclOptions::peer_sums
  std::string nccl = "libnccl.so.2";  // GPU: as the loader finds it; empty: sums go by the host's memory
  std::string isa = "auto";           // instruction set of the CPU backend
  int threads = 0;                    // of this rank's decoder lane; 0: its share of the cores
  int vision_threads = 0;     // of its vision lane; 0: its share of the cores, half of it beside a decoder
  int vision_gpu_share = 67;  // percent of a GPU that its products fill beside a decoder; the rest finds room
  int64_t max_num_seqs = 8;   // sequences running at once
  int64_t max_model_len = 0;  // tokens of one sequence; 0: one image, 128 prompt and 256 generated tokens
  int64_t max_num_batched_tokens =
      0;  // new rows of one step; 0: enough for one whole sequence, and at least 2048
  int64_t encoder_cache_slots = 0;  // of each vision lane; 0: twice what its share of the sequences needs
  std::vector<int64_t> pp_layers;   // layers of each pipeline stage; empty: as equal as the head allows
  bool shared_vision = false;  // the first stage's ranks also encode Image.rgb together, as part of a step
};

/// What a rank holds, resolved from the options and the model's config. Throws a sentence when a number does
/// not fit.
Capacity fit_capacity(const EngineOptions& options, const ModelConfig& config, const Mesh& mesh = {});

/// Threads of a rank's decoder lane, and of its vision lane, beside a decoder or alone.
int decoder_threads(const EngineOptions& options);
int vision_threads(const EngineOptions& options, bool beside_decoder);

std::unique_ptr<TensorSource> open_weights(const EngineOptions& options, const ModelConfig& config);

/// Hears of bytes loaded, and of all bytes that will be.
using LoadProgress = std::function<void(int64_t loaded, int64_t total)>;

}  // namespace lapidary
