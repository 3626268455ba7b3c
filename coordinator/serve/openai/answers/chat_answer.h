#pragma once

#include <span>
#include <string>

#include "coordinator/serve/openai/answers/answer.h"

namespace lapidary {

/// The answer of POST /v1/chat/completions. `prompt_ids`: where return_token_ids asks for them, else null.
std::string chat_completion(const AnswerHead& head, std::span<const Choice> choices, const Usage& usage,
                            const std::vector<int32_t>* prompt_ids = nullptr);

/// An event of its stream: what each choice adds. `first`: the choices' first event, which says whose message
/// it is; it comes with the first text, so that its time is that of the first token. A choice's last event
/// has its end, and what was found.
std::string chat_chunk(const AnswerHead& head, std::span<const Choice> choices, bool first,
                       const StreamUsage& usage, const std::vector<int32_t>* prompt_ids = nullptr);

/// The event after all choices, with include_usage: no choices, all usage.
std::string chat_usage_chunk(const AnswerHead& head, const Usage& usage);

}  // namespace lapidary
