#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/serve/openai/image_reference.h"

namespace lapidary {

/// How tokens are drawn; what a request leaves out is empty: the model's own defaults.
struct SamplingFields {
  std::optional<double> temperature;         // 0: greedy
  std::optional<double> top_p;               // above 0; 1: off
  std::optional<int64_t> top_k;              // 0: off
  std::optional<double> min_p;               // 0: off
  std::optional<double> repetition_penalty;  // 1: off
  std::optional<int64_t> seed;
};

/// What ends a text, beside the model's end tokens and max_tokens.
struct StopFields {
  std::vector<std::string> strings;
  std::vector<int32_t> token_ids;
  bool include_in_output = false;  // the stop string, or the stop token's text, belongs to the text
  bool ignore_eos = false;
  int64_t min_tokens = 0;
};

/// How the answer comes.
struct AnswerFields {
  bool stream = false;
  bool include_usage = false;           // a last chunk with the usage, and `usage: null` in the others
  bool continuous_usage_stats = false;  // the usage so far in every chunk
  std::optional<int64_t> logprobs;      // how many of the best tokens beside each; empty: no logprobs
  bool echo = false;                    // the prompt's text before the completion's
  bool skip_special_tokens = true;
  bool return_token_ids = false;
  bool return_tokens_as_token_ids = false;  // in logprobs: "token_id:N"
};

/// One request to generate, whichever endpoint it came by.
struct GenerationRequest {
  std::string model;   // empty: the one that is served
  std::string prompt;  // between <bos> and the newline; places its images itself where it holds <image>
  std::optional<std::vector<int32_t>> prompt_ids;  // instead: the whole prefix, taken as it is
  bool add_special_tokens =
      true;  // false: the prefix is the prompt alone, without <bos>, newline and images' places
  std::vector<ImageReference> images;  // in prompt order
  std::optional<int64_t> max_tokens;
  int64_t n = 1;
  int64_t priority = 0;    // the lower first
  std::string request_id;  // empty: the server makes one
  SamplingFields sampling;
  StopFields stop;
  AnswerFields answer;

  // Of the Responses API, which says them again in its answer.
  std::optional<std::string> instructions;
  std::vector<std::pair<std::string, std::string>> metadata;
};

}  // namespace lapidary
