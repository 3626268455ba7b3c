#pragma once

#include "coordinator/serve/openai/generation_request.h"
#include "coordinator/serve/openai/request_fields.h"

namespace lapidary {

/// The body of POST /v1/responses, without state: nothing is stored, so a request that asks for that or goes
/// on with another is refused; `store` that is not there is taken as false. `input` is a text or a list of
/// messages, by the rule of messages.h; `instructions` are a text of the system. Throws ApiError.
GenerationRequest parse_response_request(const boost::json::value& body, const ApiLimits& limits);

}  // namespace lapidary
