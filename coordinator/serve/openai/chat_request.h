#pragma once

#include "coordinator/serve/openai/generation_request.h"
#include "coordinator/serve/openai/request_fields.h"

namespace lapidary {

/// The body of POST /v1/chat/completions (parse_body gives the value). Fields that nobody knows are passed
/// over; known ones of another kind, outside their range or not done throw ApiError with their place.
GenerationRequest parse_chat_completion(const boost::json::value& body, const ApiLimits& limits);

}  // namespace lapidary
