#pragma once

#include <string_view>

#include "coordinator/serve/openai/generation_request.h"
#include "coordinator/serve/openai/request_fields.h"

namespace lapidary {

/// The fields that all endpoints that generate have: model, n, priority, request_id, sampling, stop and how
/// the answer comes; refuses what is known and not done. Throws ApiError.
void read_generation_fields(const RequestFields& fields, const ApiLimits& limits, GenerationRequest& request);

/// The model's name; empty where the request has none.
std::string read_model(const RequestFields& fields);

/// The first of `names` that is there wins; all are checked.
void read_max_tokens(const RequestFields& fields, std::initializer_list<std::string_view> names,
                     const ApiLimits& limits, GenerationRequest& request);

/// Throws ApiError where `wanted` logprobs are more than there may be, or are not done at all.
void set_logprobs(const RequestFields& fields, std::string_view name, int64_t wanted, const ApiLimits& limits,
                  GenerationRequest& request);

/// A list of token ids.
std::vector<int32_t> to_token_ids(const boost::json::array& list, const std::string& param, int64_t most);

}  // namespace lapidary
