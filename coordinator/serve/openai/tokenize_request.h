#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/serve/openai/image_reference.h"
#include "coordinator/serve/openai/request_fields.h"

namespace lapidary {

/// What is to be cut into tokens, as it would be for generating.
struct TokenizeRequest {
  std::string model;  // empty: the one that is served
  std::string prompt;
  std::vector<ImageReference> images;
  bool add_special_tokens = true;  // false: the prompt alone, without <bos>, newline and images' places
  bool return_token_strs = false;
};

/// The body of POST /tokenize: `prompt`, with `images` as in completions, or `messages`. Throws ApiError.
TokenizeRequest parse_tokenize(const boost::json::value& body, const ApiLimits& limits);

struct DetokenizeRequest {
  std::string model;
  std::vector<int32_t> tokens;
};

/// The body of POST /detokenize. Throws ApiError.
DetokenizeRequest parse_detokenize(const boost::json::value& body, const ApiLimits& limits);

}  // namespace lapidary
