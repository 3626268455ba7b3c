#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/serve/openai/answers/answer.h"
#include "coordinator/serve/openai/generation_request.h"
#include "coordinator/serve/openai/json_writer.h"

namespace lapidary {

/// What a request asked for, as its response says it again.
struct ResponseEcho {
  explicit ResponseEcho(const GenerationRequest& request);

  std::optional<std::string> instructions;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::optional<int64_t> max_output_tokens;
  std::optional<double> temperature;
  std::optional<double> top_p;
  int64_t top_logprobs = 0;
};

/// What a response says, whole or in its events. Its one message has an id of its own ("msg_…").
struct ResponseAnswer {
  AnswerHead head;
  std::string message_id;
  ResponseEcho echo;
  std::optional<Choice> choice;  // empty before the end
  Usage usage;
  std::optional<std::string> error;  // it failed: a sentence
};

/// The answer of POST /v1/responses: completed, or incomplete where max_output_tokens cut it.
std::string response_answer(const ResponseAnswer& answer);

// Its parts, as events have them.

/// Without choice and error it is in progress.
void write_response(JsonWriter& json, const ResponseAnswer& answer);
/// The message; before the end it has no content.
void write_response_item(JsonWriter& json, const ResponseAnswer& answer);
/// Its text; before the end it is empty.
void write_response_part(JsonWriter& json, const ResponseAnswer& answer);
/// A list; empty where not asked for.
void write_response_logprobs(JsonWriter& json, const std::optional<std::vector<TokenLogprob>>& logprobs);

}  // namespace lapidary
