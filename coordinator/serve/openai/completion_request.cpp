#include "coordinator/serve/openai/completion_request.h"

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/generation_fields.h"
#include "coordinator/serve/openai/messages.h"
#include "coordinator/serve/openai/unsupported.h"

namespace lapidary {
namespace {

namespace json = boost::json;

constexpr UnsupportedField kOfCompletions[] = {{"suffix", kEmpty}};

void read_token_prompt(const json::array& ids, const std::string& param, const ApiLimits& limits,
                       GenerationRequest& request) {
  request.prompt_ids = to_token_ids(ids, param, limits.max_tokens);
}

/// A text, a list of tokens, or a list of one of these: clients that send many prompts send lists.
void read_prompt(const RequestFields& fields, const ApiLimits& limits, GenerationRequest& request) {
  const json::value* prompt = fields.find("prompt");
  if (!prompt) fields.refuse_missing("prompt");
  std::string param = "prompt";
  if (const json::array* list = prompt->if_array()) {
    if (list->empty())
      refuse(param, "invalid_value", param, " is an empty list, but one prompt must be given");
    if (list->front().is_number()) return read_token_prompt(*list, param, limits, request);
    if (list->size() > 1)
      refuse(param, "array_above_max_length", param, " has ", list->size(), " prompts, more than 1");
    prompt = &list->front();
    param += "[0]";
    if (const json::array* ids = prompt->if_array()) {
      if (ids->empty()) refuse(param, "invalid_value", param, " is an empty list, but a prompt has tokens");
      return read_token_prompt(*ids, param, limits, request);
    }
  }
  if (!prompt->is_string()) refuse_type(param, *prompt, "a string or a list of tokens");
  request.prompt = to_text(*prompt, param, limits.max_text_bytes);
}

void check_best_of(const RequestFields& fields, const ApiLimits& limits, int64_t n) {
  const int64_t best_of = fields.integer("best_of", 1, limits.max_n).value_or(n);
  if (best_of != n)
    refuse("best_of", "unsupported_value", "best_of is ", best_of, ", but all of the n = ", n,
           " texts are answered: no other number is supported");
}

void read_logprobs(const RequestFields& fields, const ApiLimits& limits, GenerationRequest& request) {
  const auto logprobs = fields.integer("logprobs", 0, limits.max_top_logprobs);
  if (!logprobs) return;
  set_logprobs(fields, "logprobs", *logprobs, limits, request);
  if (request.answer.echo)
    refuse("echo", "unsupported_value", "echo is true and logprobs is ", *logprobs,
           ", but a prompt's tokens have no logprobs");
}

}  // namespace

GenerationRequest parse_completion(const json::value& body, const ApiLimits& limits) {
  const RequestFields fields(body);
  GenerationRequest request;
  read_generation_fields(fields, limits, request);
  refuse_unsupported(fields, kOfCompletions);
  read_max_tokens(fields, {"max_tokens"}, limits, request);
  check_best_of(fields, limits, request.n);
  request.answer.echo = fields.flag("echo").value_or(false);
  read_logprobs(fields, limits, request);
  require_text_format(fields, "response_format");
  read_prompt(fields, limits, request);
  request.images = read_images(fields, "images", limits);
  if (request.prompt_ids) return request;
  require_placed_images(request.prompt, request.images.size(), request.add_special_tokens, "prompt");
  return request;
}

}  // namespace lapidary
