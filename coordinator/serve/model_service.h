#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "configs/model/generation_config.h"
#include "configs/model/model_config.h"
#include "coordinator/schedule/scheduler_types.h"
#include "coordinator/serve/openai/generation_request.h"
#include "coordinator/text/tokenizer.h"

namespace lapidary {

/// The model that is served, as requests see it. Immutable: any thread may use it.
struct ModelService {
  std::vector<std::string> names;  // the first is its own, the others stand for it
  ModelConfig config;
  GenerationConfig generation;
  Tokenizer tokenizer;
  int64_t max_model_len = 0;
  int64_t created = 0;  // seconds since 1970
  size_t longest_piece = 0;

  int64_t image_tokens() const { return config.vision.tokens(); }
  bool has_name(const std::string& name) const;
};

/// What the engine is asked for by one request, and what its answers have to know.
struct PreparedRequest {
  Request request;            // of the first choice; others differ in their seed
  int64_t prompt_tokens = 0;  // with those of images
  int64_t image_tokens = 0;
  std::vector<int32_t> prompt_ids;  // as they are returned: an image's token as often as it has embeddings
};

/// Tokenises and checks. A request's images hold their bytes by now. Throws ApiError with the request's
/// field. `seed`: of a request that names none. Takes time: for a thread that nobody waits for.
PreparedRequest prepare(const ModelService& model, GenerationRequest& request, uint64_t seed);

/// The tokens of a request's prompt, as `prepare` makes and checks them, with an image's token as often as it
/// has embeddings. Throws ApiError.
std::vector<int32_t> prompt_ids(const ModelService& model, const GenerationRequest& request);

/// The seed of choice `index` of a request: the first's own, and each other's another.
uint64_t seed_of_choice(uint64_t seed, int64_t index);

}  // namespace lapidary
