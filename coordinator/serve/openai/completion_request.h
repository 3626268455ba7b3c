#pragma once

#include "coordinator/serve/openai/generation_request.h"
#include "coordinator/serve/openai/request_fields.h"

namespace lapidary {

/// The body of POST /v1/completions. `prompt` is one text, or the tokens of one prefix. `images`, a field of
/// ours: a list of URLs or of {"url"}, whose pictures come before the text unless it places them by <image>.
/// Throws ApiError.
GenerationRequest parse_completion(const boost::json::value& body, const ApiLimits& limits);

}  // namespace lapidary
