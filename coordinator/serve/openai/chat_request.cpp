#include "coordinator/serve/openai/chat_request.h"

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/generation_fields.h"
#include "coordinator/serve/openai/messages.h"
#include "coordinator/serve/openai/unsupported.h"

namespace lapidary {
namespace {

namespace json = boost::json;

void require_text_modality(const RequestFields& fields) {
  const json::array* modalities = fields.list("modalities");
  if (!modalities) return;
  for (size_t i = 0; i < modalities->size(); ++i) {
    const std::string param = cat(fields.param("modalities"), "[", i, "]");
    if (const std::string modality = to_text((*modalities)[i], param); modality != "text")
      refuse(param, "unsupported_value", param, " is ", shown(modality),
             ", but this server answers with 'text' alone");
  }
}

void read_logprobs(const RequestFields& fields, const ApiLimits& limits, GenerationRequest& request) {
  const bool wanted = fields.flag("logprobs").value_or(false);
  const int64_t top = fields.integer("top_logprobs", 0, limits.max_top_logprobs).value_or(0);
  if (top > 0 && !wanted)
    refuse("top_logprobs", "invalid_value", "top_logprobs is ", top, ", but logprobs is not true");
  if (wanted) set_logprobs(fields, "logprobs", top, limits, request);
}

}  // namespace

GenerationRequest parse_chat_completion(const json::value& body, const ApiLimits& limits) {
  const RequestFields fields(body, "");
  GenerationRequest request;
  read_generation_fields(fields, limits, request);
  request.add_special_tokens = true;  // a chat's prompt has the model's own form
  read_max_tokens(fields, {"max_completion_tokens", "max_tokens"}, limits, request);
  read_logprobs(fields, limits, request);
  require_text_format(fields, "response_format");
  require_text_modality(fields);
  const json::array* messages = fields.list("messages");
  if (!messages) fields.refuse_missing("messages");
  ConversationReader reader(limits);
  reader.add_messages(*messages, "messages");
  Conversation conversation = reader.finish("messages");
  request.prompt = std::move(conversation.prompt);
  request.images = std::move(conversation.images);
  return request;
}

}  // namespace lapidary
