#pragma once

#include <string>

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/generation_request.h"
#include "coordinator/serve/openai/json_writer.h"
#include "coordinator/serve/openai/tokenize_request.h"

namespace lapidary::testing_support {

inline void describe_image(JsonWriter& json, const ImageReference& image) {
  constexpr const char* kKinds[] = {"bytes", "url", "file"};
  json.begin_object().field(kKinds[static_cast<int>(image.kind)], image.value);
  json.field("param", image.param).end_object();
}

inline void describe_images(JsonWriter& json, const std::vector<ImageReference>& images) {
  if (images.empty()) return;
  json.key("images").begin_list();
  for (const ImageReference& image : images) describe_image(json, image);
  json.end_list();
}

inline void describe_sampling(JsonWriter& json, const SamplingFields& sampling) {
  if (sampling.temperature) json.field("temperature", sampling.temperature);
  if (sampling.top_p) json.field("top_p", sampling.top_p);
  if (sampling.top_k) json.field("top_k", sampling.top_k);
  if (sampling.min_p) json.field("min_p", sampling.min_p);
  if (sampling.repetition_penalty) json.field("repetition_penalty", sampling.repetition_penalty);
  if (sampling.seed) json.field("seed", sampling.seed);
}

inline void describe_stop(JsonWriter& json, const StopFields& stop) {
  if (!stop.strings.empty()) json.list_field("stop", stop.strings);
  if (!stop.token_ids.empty()) json.list_field("stop_token_ids", stop.token_ids);
  if (stop.include_in_output) json.field("include_in_output", true);
  if (stop.ignore_eos) json.field("ignore_eos", true);
  if (stop.min_tokens != 0) json.field("min_tokens", stop.min_tokens);
}

inline void describe_answer(JsonWriter& json, const AnswerFields& answer) {
  if (answer.stream) json.field("stream", true);
  if (answer.include_usage) json.field("include_usage", true);
  if (answer.continuous_usage_stats) json.field("continuous_usage_stats", true);
  if (answer.logprobs) json.field("logprobs", answer.logprobs);
  if (answer.echo) json.field("echo", true);
  if (!answer.skip_special_tokens) json.field("skip_special_tokens", false);
  if (answer.return_token_ids) json.field("return_token_ids", true);
  if (answer.return_tokens_as_token_ids) json.field("return_tokens_as_token_ids", true);
}

/// What differs from a request that says nothing, and always the prompt.
inline std::string described(const GenerationRequest& request) {
  JsonWriter json;
  json.begin_object();
  if (!request.model.empty()) json.field("model", request.model);
  if (request.prompt_ids) {
    json.list_field("prompt_ids", *request.prompt_ids);
  } else {
    json.field("prompt", request.prompt);
  }
  if (!request.add_special_tokens) json.field("add_special_tokens", false);
  describe_images(json, request.images);
  if (request.max_tokens) json.field("max_tokens", request.max_tokens);
  if (request.n != 1) json.field("n", request.n);
  if (request.priority != 0) json.field("priority", request.priority);
  if (!request.request_id.empty()) json.field("request_id", request.request_id);
  describe_sampling(json, request.sampling);
  describe_stop(json, request.stop);
  describe_answer(json, request.answer);
  if (request.instructions) json.field("instructions", request.instructions);
  for (const auto& [key, text] : request.metadata) json.field("metadata." + key, text);
  return json.end_object().take();
}

inline std::string described(const TokenizeRequest& request) {
  JsonWriter json;
  json.begin_object().field("model", request.model).field("prompt", request.prompt);
  if (!request.add_special_tokens) json.field("add_special_tokens", false);
  describe_images(json, request.images);
  if (request.return_token_strs) json.field("return_token_strs", true);
  return json.end_object().take();
}

inline std::string described(const DetokenizeRequest& request) {
  JsonWriter json;
  return json.begin_object()
      .field("model", request.model)
      .list_field("tokens", request.tokens)
      .end_object()
      .take();
}

/// What a parser gives, or the error's body behind its status.
template <class Parse>
std::string outcome(Parse parse) {
  try {
    return described(parse());
  } catch (const ApiError& error) {
    return std::to_string(error.status()) + " " + to_json(error);
  }
}

}  // namespace lapidary::testing_support
