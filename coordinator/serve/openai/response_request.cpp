#include "coordinator/serve/openai/response_request.h"

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/generation_fields.h"
#include "coordinator/serve/openai/messages.h"
#include "coordinator/serve/openai/unsupported.h"

namespace lapidary {
namespace {

namespace json = boost::json;

constexpr UnsupportedField kOfResponses[] = {
    {"previous_response_id", kNothing},
    {"conversation", kNothing},
    {"background", kFalse},
    {"prompt", kNothing},
    {"truncation", kDisabled},
    {"context_management", kEmpty},
};

/// What else may be included is about tools and stored things, so that there is none.
bool includes_logprobs(const RequestFields& fields) {
  const json::array* include = fields.list("include");
  bool wanted = false;
  for (size_t i = 0; include && i < include->size(); ++i)
    wanted =
        to_text((*include)[i], cat(fields.param("include"), "[", i, "]")) == "message.output_text.logprobs" ||
        wanted;
  return wanted;
}

void read_logprobs(const RequestFields& fields, const ApiLimits& limits, GenerationRequest& request) {
  const int64_t top = fields.integer("top_logprobs", 0, limits.max_top_logprobs).value_or(0);
  const bool wanted = includes_logprobs(fields);
  if (top > 0 && !wanted)
    refuse("top_logprobs", "invalid_value", "top_logprobs is ", top,
           ", but include does not hold 'message.output_text.logprobs'");
  if (wanted) set_logprobs(fields, "include", top, limits, request);
}

void read_metadata(const RequestFields& fields, GenerationRequest& request) {
  constexpr size_t kMostPairs = 16, kLongestKey = 64, kLongestText = 512;
  const auto metadata = fields.object("metadata");
  if (!metadata) return;
  if (metadata->raw().size() > kMostPairs)
    refuse("metadata", "object_above_max_properties", "metadata has ", metadata->raw().size(),
           " pairs, more than ", kMostPairs);
  for (const auto& [key, value] : metadata->raw()) {
    if (key.size() > kLongestKey)
      refuse("metadata", "string_above_max_length", "a key of metadata has ", key.size(),
             " bytes, more than ", kLongestKey);
    request.metadata.emplace_back(std::string(key), to_text(value, metadata->param(key), kLongestText));
  }
}

void read_input(const RequestFields& fields, const ApiLimits& limits, GenerationRequest& request) {
  const json::value* input = fields.find("input");
  if (!input) fields.refuse_missing("input");
  ConversationReader reader(limits);
  request.instructions = fields.text("instructions", limits.max_text_bytes);
  reader.add_system_text(request.instructions.value_or(""), "instructions");
  if (input->is_string()) {
    reader.add_user_text(to_text(*input, "input", limits.max_text_bytes), "input");
  } else if (const json::array* items = input->if_array()) {
    reader.add_messages(*items, "input");
  } else {
    refuse_type("input", *input, "a string or a list");
  }
  Conversation conversation = reader.finish("input");
  request.prompt = std::move(conversation.prompt);
  request.images = std::move(conversation.images);
}

}  // namespace

GenerationRequest parse_response_request(const json::value& body, const ApiLimits& limits) {
  const RequestFields fields(body);
  GenerationRequest request;
  read_generation_fields(fields, limits, request);
  refuse_unsupported(fields, kOfResponses);
  request.add_special_tokens = true;  // a chat's prompt has the model's own form
  if (request.n != 1) refuse("n", "unsupported_value", "n is ", request.n, ", but a response has 1 text");
  read_max_tokens(fields, {"max_output_tokens"}, limits, request);
  read_logprobs(fields, limits, request);
  if (const auto text = fields.object("text")) require_text_format(*text, "format");
  read_metadata(fields, request);
  read_input(fields, limits, request);
  return request;
}

}  // namespace lapidary
