#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "configs/error.h"
#include "configs/model/model_config.h"
#include "kernels/cuda_options.h"
#include "tests/support/golden.h"
#include "tests/support/nccl_library.h"
#include "tests/support/temp_folder.h"
#include "worker/engine/engine.h"
#include "worker/engine/tracer.h"
#include "worker/images/image.h"
#include "worker/images/resize.h"

namespace lapidary {

using Tensors = std::map<std::string, GoldenTensor>;

inline std::string resized_rgb(const std::filesystem::path& path, int64_t size) {
  const Image image = resize_bicubic(read_image(path), static_cast<int>(size), static_cast<int>(size));
  return {image.rgb.begin(), image.rgb.end()};
}

/// All tensors of one prompt, run on `ranks` threads as ranks; from rank 0.
inline Tensors run_case(const GoldenRun& run, const GoldenPrompt& prompt, const std::vector<int32_t>& prefix,
                        int ranks, int threads = 1, const std::string& isa = "auto",
                        bool deterministic = true, Quantization quantization = Quantization::none) {
  const ModelConfig config = read_model_config(run.folder);
  EngineOptions options;
  options.model = run.folder;
  options.dtype = enum_named<DTypeOption>(run.dtype);
  options.quantization = quantization;
  options.profile = run.profile;
  options.images.processor = ImageProcessor::pillow;  // with which the files were made
  options.threads = threads;
  options.isa = isa;
  options.max_num_seqs = 2;
  options.shared_vision = true;
  options.device = "auto";
  options.deterministic = deterministic;  // if so a GPU, too, keeps the bits
  options.max_model_len = static_cast<int64_t>(prefix.size()) + run.max_new_tokens;
  Tensors tensors;
  run_threads(ranks, [&](Communicator& comm) {
    EngineOptions mine = options;
    // Ranks as threads talk by NCCL where each can have a GPU of its own.
    const bool enough = cuda_devices().count >= ranks;
    if (enough) mine.device = cat("cuda:", comm.rank());
    mine.nccl = enough ? nccl_library() : "";
    Engine engine(mine, config, one_stage(comm));
    TraceRequest request;
    request.prefix = prefix;
    request.max_new_tokens = run.max_new_tokens;
    for (const auto& image : prompt.images)
      request.images.push_back(resized_rgb(run.folder / image, config.vision.image_size));
    Tracer tracer;
    tracer.add_ints("token_ids", trace(engine, request, comm.rank() == 0 ? &tracer : nullptr));
    if (comm.rank() > 0) return;
    TempFolder folder;
    tracer.write(folder.path() / "trace.safetensors");
    tensors = read_tensors(folder.path() / "trace.safetensors");
  });
  return tensors;
}

}  // namespace lapidary
