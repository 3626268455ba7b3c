#pragma once

#include "coordinator/serve/generation.h"

namespace lapidary {

/// Answers of /v1/chat/completions.
std::unique_ptr<AnswerWriter> make_chat_writer(AnswerHead head, const AnswerFields& fields,
                                               std::vector<int32_t> prompt_ids);

}  // namespace lapidary
