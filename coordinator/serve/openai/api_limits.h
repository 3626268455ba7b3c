#pragma once

#include <cstddef>
#include <cstdint>

namespace lapidary {

/// What a request may ask for. A server sets these from its flags and from what its engine does.
struct ApiLimits {
  int64_t max_images = 8;                     // of one request
  size_t max_image_bytes = size_t{20} << 20;  // of one image in the request, decoded
  size_t max_text_bytes = size_t{1} << 20;    // of one prompt, or of one other text
  int64_t max_tokens = int64_t{1} << 20;      // of max_tokens, token lists and whatever counts tokens
  int64_t max_n = 128;
  int64_t max_stop = 4;
  size_t max_stop_bytes = 256;  // of one stop string
  int64_t max_stop_token_ids = 128;
  int64_t max_top_logprobs = 20;
  bool flatten_chat = false;  // system texts and earlier turns are joined to one prompt, not refused

  // Beside temperature, top_p, top_k and seed. What is false is refused where it would change the answer.
  bool logprobs = false;
  bool min_p = false;
  bool repetition_penalty = false;
  bool min_tokens = false;
  bool priority = false;
};

}  // namespace lapidary
