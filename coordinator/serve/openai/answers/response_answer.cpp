#include "coordinator/serve/openai/answers/response_answer.h"

#include "coordinator/serve/openai/answers/answer_parts.h"

namespace lapidary {
namespace {

bool is_cut(const ResponseAnswer& answer) { return answer.choice && answer.choice->end == AnswerEnd::length; }

const char* status_of(const ResponseAnswer& answer) {
  if (answer.error) return "failed";
  if (!answer.choice) return "in_progress";
  return is_cut(answer) ? "incomplete" : "completed";
}

void write_error(JsonWriter& json, const ResponseAnswer& answer) {
  json.key("error");
  if (answer.error) {
    json.begin_object().field("code", "server_error").field("message", *answer.error).end_object();
  } else {
    json.value(JsonNull{});
  }
  json.key("incomplete_details");
  if (is_cut(answer)) {
    json.begin_object().field("reason", "max_output_tokens").end_object();
  } else {
    json.value(JsonNull{});
  }
}

/// What the request asked for, or might have.
void write_echo(JsonWriter& json, const ResponseEcho& echo) {
  json.field("instructions", echo.instructions).field("max_output_tokens", echo.max_output_tokens);
  json.field("temperature", echo.temperature).field("top_p", echo.top_p);
  json.field("top_logprobs", echo.top_logprobs);
  json.key("text").begin_object().key("format").raw(R"({"type":"text"})").end_object();
  json.field("parallel_tool_calls", true).field("tool_choice", "auto").key("tools").begin_list().end_list();
  json.key("reasoning").begin_object().field("effort", JsonNull{}).field("summary", JsonNull{}).end_object();
  json.field("background", false).field("store", false).field("truncation", "disabled");
  json.field("previous_response_id", JsonNull{}).key("metadata").begin_object();
  for (const auto& [key, text] : echo.metadata) json.field(key, text);
  json.end_object();
}

void write_response_usage(JsonWriter& json, const ResponseAnswer& answer) {
  json.key("usage");
  if (!answer.choice) {
    json.value(JsonNull{});
    return;
  }
  const Usage& usage = answer.usage;
  json.begin_object().field("input_tokens", usage.prompt_tokens).key("input_tokens_details").begin_object();
  json.field("cached_tokens", usage.cached_tokens).field("cache_write_tokens", 0);
  json.field("image_tokens", usage.image_tokens);
  json.field("text_tokens", usage.prompt_tokens - usage.image_tokens).end_object();
  json.field("output_tokens", usage.completion_tokens).key("output_tokens_details").begin_object();
  json.field("reasoning_tokens", 0).end_object();
  json.field("total_tokens", usage.prompt_tokens + usage.completion_tokens).end_object();
}

}  // namespace

ResponseEcho::ResponseEcho(const GenerationRequest& request)
    : instructions(request.instructions),
      metadata(request.metadata),
      max_output_tokens(request.max_tokens),
      temperature(request.sampling.temperature),
      top_p(request.sampling.top_p),
      top_logprobs(request.answer.logprobs.value_or(0)) {}

void write_response(JsonWriter& json, const ResponseAnswer& answer) {
  json.begin_object().field("id", answer.head.id).field("object", "response");
  json.field("created_at", answer.head.created).field("model", answer.head.model);
  json.field("status", status_of(answer));
  write_error(json, answer);
  json.key("output").begin_list();
  if (answer.choice) write_response_item(json, answer);
  json.end_list();
  write_response_usage(json, answer);
  write_echo(json, answer.echo);
  json.end_object();
}

void write_response_item(JsonWriter& json, const ResponseAnswer& answer) {
  json.begin_object().field("id", answer.message_id).field("type", "message");
  json.field("status", status_of(answer)).field("role", "assistant").key("content").begin_list();
  if (answer.choice) write_response_part(json, answer);
  json.end_list().end_object();
}

void write_response_part(JsonWriter& json, const ResponseAnswer& answer) {
  json.begin_object().field("type", "output_text");
  json.field("text", answer.choice ? answer.choice->text : "");
  json.key("annotations").begin_list().end_list();
  write_response_logprobs(json.key("logprobs"), answer.choice ? answer.choice->logprobs : std::nullopt);
  if (answer.choice && answer.choice->found) write_found(json.key("detections"), *answer.choice->found);
  json.end_object();
}

void write_response_logprobs(JsonWriter& json, const std::optional<std::vector<TokenLogprob>>& logprobs) {
  json.begin_list();
  if (logprobs)
    for (const TokenLogprob& token : *logprobs) write_token_logprob(json, token);
  json.end_list();
}

std::string response_answer(const ResponseAnswer& answer) {
  JsonWriter json;
  write_response(json, answer);
  return json.take();
}

}  // namespace lapidary
