#include "worker/engine/memory_plan.h"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iomanip>

#include "configs/error.h"
#include "worker/model/paligemma.h"

namespace lapidary {
namespace {

std::string gigabytes(double bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << bytes / 1e9 << " GB";
  return out.str();
}

size_t weight_bytes(int64_t matrices, int64_t vectors, DType dtype) {
  return static_cast<size_t>(matrices) * size_of(dtype) + static_cast<size_t>(vectors) * sizeof(float);
}

}  // namespace

DType resolve_dtype(DTypeOption option, const ModelConfig& config) {
  if (option == DTypeOption::automatic) {
    const bool wide =
        config.torch_dtype == "float32" || config.torch_dtype == "float16" || config.torch_dtype == "float64";
    return wide ? DType::f32 : DType::bf16;
  }
  return option == DTypeOption::float32 ? DType::f32 : DType::bf16;
}

WeightTypes resolve_types(const EngineOptions& options, const ModelConfig& config) {
  const DType linear = resolve_dtype(options.dtype, config);
  return options.quantization == Quantization::fp8 ? WeightTypes{linear, DType::e4m3} : WeightTypes(linear);
}

size_t vision_weight_bytes(const ModelConfig& config, const ShardPlan& plan, DType dtype) {
  const VisionConfig& v = config.vision;
  const int64_t vh = v.hidden_size, th = config.text.hidden_size;
  const int64_t mine = plan.vision.heads.size() * v.head_dim(), ffn = plan.vision.ffn.size();
  const int64_t matrices =
      vh * v.channels * v.patch_size * v.patch_size + vh * th + v.layers * (4 * mine + 2 * ffn) * vh;
  const int64_t vectors = vh * (v.tokens() + 3) + th + v.layers * (6 * vh + 3 * mine + ffn);
  return weight_bytes(matrices, vectors, dtype);
}

Memory plan_memory(const ModelConfig& config, const ShardPlan& plan, const StagePart& share, bool vision_lane,
                   const Capacity& capacity, WeightTypes types, const Backend& backend) {
  const TextConfig& t = config.text;
  const int64_t h = t.hidden_size, layers = share.layers.size();
  const int64_t q = plan.decoder.heads.size() * t.head_dim, kv = plan.decoder.kv_heads.size() * t.head_dim;
  const int tables = share.embedding && share.head ? (t.tie_word_embeddings ? 1 : 2)
                                                   : (share.embedding ? 1 : 0) + (share.head ? 1 : 0);
  const int64_t ffn = plan.decoder.ffn.size();
  const int64_t scales = types.decoder == DType::e4m3 ? q + 2 * kv + 2 * ffn + 2 * h : 0;  // of a layer
  const int64_t vectors = layers * (4 * h + scales) + (share.head ? h : 0);
  const DType dtype = types.linear;

  Memory memory;
  memory.weights =
      weight_bytes(plan.vocab.size() * h * tables, vectors, dtype) +
      static_cast<size_t>(layers * (2 * q + 2 * kv + 3 * ffn) * h) * backend.weight_size(types.decoder);
  memory.kv = static_cast<size_t>(capacity.num_kv_pages() * layers) *
              backend.kv_page_bytes({plan.decoder.kv_heads.size(), t.head_dim, dtype});
  if (share.shared_vision) memory.weights += vision_weight_bytes(config, plan, dtype);
  if (vision_lane) {
    memory.weights += vision_weight_bytes(config, PaliGemma::plan_for(config, 0, 1), dtype);
    memory.embeddings =
        static_cast<size_t>(capacity.encoder_cache_slots() * config.vision.tokens() * h) * sizeof(float);
  }
  return memory;
}

void check_memory(const Memory& planned, int ranks, double available) {
  const double need = static_cast<double>(planned.total()) * ranks;
  if (need <= available) return;
  fail("not enough memory: ", ranks > 1 ? cat(ranks, " ranks on this host need ") : "this needs ",
       gigabytes(need), " (a rank: weights ", gigabytes(static_cast<double>(planned.weights)), ", KV pages ",
       gigabytes(static_cast<double>(planned.kv)), ", encoder cache slots ",
       gigabytes(static_cast<double>(planned.embeddings)), "), the host has ", gigabytes(available),
       " available; more hosts with a larger --tp, a smaller --max-num-seqs or --max-model-len, or --dtype "
       "bfloat16 "
       "need less");
}

double available_memory() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);)
    if (line.rfind("MemAvailable:", 0) == 0) return std::atof(line.c_str() + 13) * 1024;
  return INFINITY;
}

}  // namespace lapidary
