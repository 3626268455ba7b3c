#include "coordinator/serve/openai/answers/chat_answer.h"

#include "coordinator/serve/openai/answers/answer_parts.h"

namespace lapidary {
namespace {

void begin_answer(JsonWriter& json, const AnswerHead& head, const char* object) {
  json.begin_object().field("id", head.id).field("object", object);
  json.field("created", head.created).field("model", head.model).key("choices").begin_list();
}

void write_message(JsonWriter& json, const Choice& choice) {
  json.key("message").begin_object();
  json.field("role", "assistant").field("content", choice.text).field("refusal", JsonNull{});
  json.key("annotations").begin_list().end_list();
  if (choice.found) write_found(json.key("detections"), *choice.found);
  json.end_object();
}

void write_delta(JsonWriter& json, const Choice& choice, bool first) {
  json.key("delta").begin_object();
  if (first) json.field("role", "assistant");
  if (first || !choice.text.empty()) json.field("content", choice.text);
  if (choice.found) write_found(json.key("detections"), *choice.found);
  json.end_object();
}

void write_prompt_ids(JsonWriter& json, const std::vector<int32_t>* prompt_ids) {
  if (prompt_ids) json.list_field("prompt_token_ids", *prompt_ids);
}

}  // namespace

std::string chat_completion(const AnswerHead& head, std::span<const Choice> choices, const Usage& usage,
                            const std::vector<int32_t>* prompt_ids) {
  JsonWriter json;
  begin_answer(json, head, "chat.completion");
  for (const Choice& choice : choices) {
    json.begin_object().field("index", choice.index);
    write_message(json, choice);
    write_chat_logprobs(json.key("logprobs"), choice.logprobs);
    write_choice_end(json, choice);
    json.end_object();
  }
  json.end_list();
  write_usage(json.key("usage"), usage);
  write_prompt_ids(json, prompt_ids);
  return json.end_object().take();
}

std::string chat_chunk(const AnswerHead& head, std::span<const Choice> choices, bool first,
                       const StreamUsage& usage, const std::vector<int32_t>* prompt_ids) {
  JsonWriter json;
  begin_answer(json, head, "chat.completion.chunk");
  for (const Choice& choice : choices) {
    json.begin_object().field("index", choice.index);
    write_delta(json, choice, first);
    write_chat_logprobs(json.key("logprobs"), choice.logprobs);
    write_choice_end(json, choice);
    json.end_object();
  }
  json.end_list();
  write_stream_usage(json, usage);
  write_prompt_ids(json, prompt_ids);
  return json.end_object().take();
}

std::string chat_usage_chunk(const AnswerHead& head, const Usage& usage) {
  return chat_chunk(head, {}, false, {true, usage});
}

}  // namespace lapidary
