#include "coordinator/serve/openai/tokenize_request.h"

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/generation_fields.h"
#include "coordinator/serve/openai/messages.h"
#include "coordinator/serve/openai/unsupported.h"

namespace lapidary {

namespace json = boost::json;

TokenizeRequest parse_tokenize(const json::value& body, const ApiLimits& limits) {
  const RequestFields fields(body);
  refuse_unsupported(fields);
  TokenizeRequest request;
  request.model = read_model(fields);
  request.return_token_strs = fields.flag("return_token_strs").value_or(false);
  request.add_special_tokens = fields.flag("add_special_tokens").value_or(true);
  if (const json::array* messages = fields.list("messages")) {
    if (fields.find("prompt"))
      refuse("prompt", "invalid_value", "prompt is given and messages, too, but only one of them can be cut");
    request.add_special_tokens = true;  // a chat's prompt has the model's own form
    ConversationReader reader(limits);
    reader.add_messages(*messages, "messages");
    Conversation conversation = reader.finish("messages");
    request.prompt = std::move(conversation.prompt);
    request.images = std::move(conversation.images);
    return request;
  }
  auto prompt = fields.text("prompt", limits.max_text_bytes);
  if (!prompt) fields.refuse_missing("prompt");
  request.prompt = std::move(*prompt);
  request.images = read_images(fields, "images", limits);
  require_placed_images(request.prompt, request.images.size(), request.add_special_tokens, "prompt");
  return request;
}

DetokenizeRequest parse_detokenize(const json::value& body, const ApiLimits& limits) {
  const RequestFields fields(body);
  const json::array* tokens = fields.list("tokens");
  if (!tokens) fields.refuse_missing("tokens");
  return {read_model(fields), to_token_ids(*tokens, "tokens", limits.max_tokens)};
}

}  // namespace lapidary
