#pragma once

#include <span>
#include <string>
#include <vector>

#include "coordinator/serve/openai/answers/answer.h"

namespace lapidary {

/// The answer of POST /v1/completions. `prompt_ids`: where return_token_ids asks for them, else null.
std::string completion(const AnswerHead& head, std::span<const Choice> choices, const Usage& usage,
                       const std::vector<int32_t>* prompt_ids = nullptr);

/// An event of its stream: what each choice adds, and with no choices the usage at its end.
std::string completion_chunk(const AnswerHead& head, std::span<const Choice> choices,
                             const StreamUsage& usage, const std::vector<int32_t>* prompt_ids = nullptr);

/// Characters of a text that begin in the bytes of these tokens: what a next event's `text_before` grows by.
int64_t characters(std::span<const TokenLogprob> tokens);

}  // namespace lapidary
