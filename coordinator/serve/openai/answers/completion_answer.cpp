#include "coordinator/serve/openai/answers/completion_answer.h"

#include <algorithm>
#include <set>

#include "coordinator/serve/openai/answers/answer_parts.h"
#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

/// As OpenAI names the bytes that are no whole character in this old form.
std::string legacy_token(const TokenLogprob& token) {
  return invalid_utf8(token.bytes) ? "bytes:" + token.token : token.token;
}

/// {token: logprob}: the best ones and the token itself, each name once.
void write_top(JsonWriter& json, const TokenLogprob& token) {
  std::set<std::string> written;
  json.begin_object();
  const auto write = [&](const TokenLogprob& one) {
    const std::string name = legacy_token(one);
    if (written.insert(name).second) json.field(name, finite_logprob(one.logprob));
  };
  for (const TokenLogprob& top : token.top) write(top);
  write(token);
  json.end_object();
}

void write_legacy_logprobs(JsonWriter& json, const Choice& choice) {
  json.key("logprobs");
  if (!choice.logprobs) {
    json.value(JsonNull{});
    return;
  }
  json.begin_object().key("tokens").begin_list();
  for (const TokenLogprob& token : *choice.logprobs) json.value(legacy_token(token));
  json.end_list().key("token_logprobs").begin_list();
  for (const TokenLogprob& token : *choice.logprobs) json.value(finite_logprob(token.logprob));
  json.end_list().key("top_logprobs").begin_list();
  for (const TokenLogprob& token : *choice.logprobs) write_top(json, token);
  json.end_list().key("text_offset").begin_list();
  int64_t offset = choice.text_before;
  for (const TokenLogprob& token : *choice.logprobs) {
    json.value(offset);
    offset += characters(std::span(&token, 1));
  }
  json.end_list().end_object();
}

void write_answer(JsonWriter& json, const AnswerHead& head, std::span<const Choice> choices,
                  const std::vector<int32_t>* prompt_ids) {
  json.begin_object().field("id", head.id).field("object", "text_completion");
  json.field("created", head.created).field("model", head.model).key("choices").begin_list();
  for (const Choice& choice : choices) {
    json.begin_object().field("index", choice.index).field("text", choice.text);
    write_legacy_logprobs(json, choice);
    write_choice_end(json, choice);
    if (prompt_ids) json.list_field("prompt_token_ids", *prompt_ids);
    if (choice.found) write_found(json.key("detections"), *choice.found);
    json.end_object();
  }
  json.end_list();
}

}  // namespace

std::string completion(const AnswerHead& head, std::span<const Choice> choices, const Usage& usage,
                       const std::vector<int32_t>* prompt_ids) {
  return completion_chunk(head, choices, {true, usage}, prompt_ids);
}

std::string completion_chunk(const AnswerHead& head, std::span<const Choice> choices,
                             const StreamUsage& usage, const std::vector<int32_t>* prompt_ids) {
  JsonWriter json;
  write_answer(json, head, choices, prompt_ids);
  write_stream_usage(json, usage);
  return json.end_object().take();
}

int64_t characters(std::span<const TokenLogprob> tokens) {
  const auto begins_character = [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; };
  int64_t count = 0;
  for (const TokenLogprob& token : tokens)
    count += std::count_if(token.bytes.begin(), token.bytes.end(), begins_character);
  return count;
}

}  // namespace lapidary
