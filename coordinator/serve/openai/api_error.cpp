#include "coordinator/serve/openai/api_error.h"

#include "coordinator/serve/openai/json_writer.h"

namespace lapidary {

ApiError::ApiError(int status, std::string_view type, std::string_view code, const std::string& message,
                   std::optional<std::string> param)
    : Error(message), status_(status), type_(type), code_(code), param_(std::move(param)) {}

std::string to_json(const ApiError& error) {
  JsonWriter json;
  json.begin_object().key("error").begin_object();
  json.field("message", error.what()).field("type", error.type()).field("param", error.param());
  error.code().empty() ? json.field("code", JsonNull{}) : json.field("code", error.code());
  return json.end_object().end_object().take();
}

ApiError model_not_found(std::string_view model) {
  return {404, "invalid_request_error", "model_not_found", cat("the model '", model, "' is not served here"),
          "model"};
}

void require_context(int64_t prompt_tokens, int64_t completion_tokens, int64_t max_model_len,
                     const std::string& param) {
  if (prompt_tokens + completion_tokens > max_model_len)
    refuse(param, "context_length_exceeded", "the prompt has ", prompt_tokens,
           " tokens and its completion may have ", completion_tokens, ", together ",
           prompt_tokens + completion_tokens, ", but a sequence has at most ", max_model_len);
}

}  // namespace lapidary
