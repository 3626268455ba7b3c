#include "coordinator/serve/model_service.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <utility>

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/text/prompt.h"

namespace lapidary {
namespace {

/// Pictures are the same where their files' bytes are: embeddings are shared between requests by this.
std::string key_of(const std::string& bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_blake2b512(), nullptr) != 1)
    fail("BLAKE2b cannot be computed by this machine's OpenSSL");
  return {reinterpret_cast<const char*>(digest.data()), 32};
}

ImageInput picture_of(ImageReference& reference) {
  const auto source = std::make_shared<wire::ImageSource>();
  source->set_path(reference.param);  // how errors name it
  ImageInput picture{key_of(reference.value), nullptr};
  source->set_data(std::move(reference.value));
  picture.source = source;
  return picture;
}

std::vector<int32_t> ids_of(const ModelService& model, const GenerationRequest& request) {
  const auto images = static_cast<int64_t>(request.images.size());
  if (request.prompt_ids) return *request.prompt_ids;
  require_short_prompt(request.prompt, model.max_model_len, model.longest_piece);
  if (!request.add_special_tokens) return model.tokenizer.encode(request.prompt);
  return prefix_ids(model.tokenizer, model.config.image_token_id, images, 1, request.prompt);
}

void check_ids(const ModelService& model, const GenerationRequest& request, const std::vector<int32_t>& ids) {
  const auto images = std::count(ids.begin(), ids.end(), static_cast<int32_t>(model.config.image_token_id));
  if (images != static_cast<std::ptrdiff_t>(request.images.size()))
    refuse("prompt", "invalid_prompt", "the prompt has ", images, " <image> tokens for ",
           request.images.size(), " images");
  if (ids.empty()) refuse("prompt", "invalid_prompt", "the prompt has no token");
  require_known_ids(ids, model.tokenizer, model.config);
}

std::vector<int32_t> checked_ids(const ModelService& model, const GenerationRequest& request) {
  try {
    std::vector<int32_t> ids = ids_of(model, request);
    check_ids(model, request, ids);
    return ids;
  } catch (const ApiError&) {
    throw;
  } catch (const Error& error) {
    refuse("messages", "invalid_prompt", error.what());
  }
}

wire::Sampling sampling_of(const ModelService& model, const SamplingFields& fields, uint64_t seed) {
  const GenerationConfig& own = model.generation;
  wire::Sampling sampling;
  sampling.set_temperature(
      static_cast<float>(fields.temperature.value_or(own.do_sample ? own.temperature : 0)));
  sampling.set_top_k(static_cast<int32_t>(fields.top_k.value_or(own.do_sample ? own.top_k : 0)));
  sampling.set_top_p(static_cast<float>(fields.top_p.value_or(own.do_sample ? own.top_p : 1)));
  sampling.set_seed(fields.seed ? static_cast<uint64_t>(*fields.seed) : seed);
  return sampling;
}

std::shared_ptr<const std::vector<int32_t>> ends_of(const ModelService& model, const StopFields& stop) {
  auto ends = std::make_shared<std::vector<int32_t>>(stop.token_ids);
  if (!stop.ignore_eos)
    for (const int64_t id : model.generation.eos) ends->push_back(static_cast<int32_t>(id));
  return ends;
}

/// Each image's token as often as it has embeddings.
std::vector<int32_t> spread(const ModelService& model, const std::vector<int32_t>& ids) {
  std::vector<int32_t> all;
  for (const int32_t id : ids)
    all.insert(all.end(), id == model.config.image_token_id ? static_cast<size_t>(model.image_tokens()) : 1,
               id);
  return all;
}

}  // namespace

bool ModelService::has_name(const std::string& name) const {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<int32_t> prompt_ids(const ModelService& model, const GenerationRequest& request) {
  return spread(model, checked_ids(model, request));
}

uint64_t seed_of_choice(uint64_t seed, int64_t index) {
  return seed + 0x9e3779b97f4a7c15u * static_cast<uint64_t>(index);
}

PreparedRequest prepare(const ModelService& model, GenerationRequest& request, uint64_t seed) {
  PreparedRequest prepared;
  std::vector<int32_t> ids = checked_ids(model, request);
  const auto images = static_cast<int64_t>(request.images.size());
  prepared.image_tokens = images * model.image_tokens();
  prepared.prompt_tokens = static_cast<int64_t>(ids.size()) - images + prepared.image_tokens;
  // Who names no number gets what there is room for, as from vLLM.
  require_context(prepared.prompt_tokens, request.max_tokens.value_or(1), model.max_model_len, "messages");
  prepared.request.max_new_tokens = request.max_tokens.value_or(model.max_model_len - prepared.prompt_tokens);
  if (request.answer.return_token_ids) prepared.prompt_ids = spread(model, ids);
  prepared.request.ids = std::make_shared<const std::vector<int32_t>>(std::move(ids));
  for (ImageReference& image : request.images) prepared.request.images.push_back(picture_of(image));
  prepared.request.sampling = sampling_of(model, request.sampling, seed);
  prepared.request.eos = ends_of(model, request.stop);
  prepared.request.priority =
      static_cast<int32_t>(std::clamp<int64_t>(request.priority, -1'000'000, 1'000'000));
  return prepared;
}

}  // namespace lapidary
