#pragma once

#include "coordinator/serve/openai/answers/answer.h"
#include "coordinator/serve/openai/json_writer.h"
#include "coordinator/text/tokenizer.h"

namespace lapidary {

// Parts that several answers have. Each writes a whole value.

void write_usage(JsonWriter& json, const Usage& usage);

/// The field "usage" of an event, or none.
void write_stream_usage(JsonWriter& json, const StreamUsage& usage);

/// {"content": [{"token", "logprob", "bytes", "top_logprobs"}], "refusal": null}
void write_chat_logprobs(JsonWriter& json, const std::optional<std::vector<TokenLogprob>>& logprobs);

/// One of the list above.
void write_token_logprob(JsonWriter& json, const TokenLogprob& token);

/// [{"label", "box": [x1, y1, x2, y2] in pixels, "box_normalized": the same from 0 to 1, "mask" where one was
/// decoded, "partial": true where the text ended in the middle of its codes}]
void write_found(JsonWriter& json, const FoundThings& found);

/// "finish_reason" and vLLM's "stop_reason" and "token_ids", fields of a choice.
void write_choice_end(JsonWriter& json, const Choice& choice);

/// A token as logprobs name it: its text; where that is no whole character "\xe2\x96" of its bytes, as OpenAI
/// does; with `as_id` "token_id:N". Its probability is the caller's to set.
TokenLogprob logprob_token(const Tokenizer& tokenizer, int32_t id, bool as_id);

/// What JSON can say of a logarithm: -9999 for what is negligible.
double finite_logprob(double logprob);

/// One event of a stream: "data: …\n\n". The last one's data is [DONE].
std::string sse_event(std::string_view data);
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";

}  // namespace lapidary
