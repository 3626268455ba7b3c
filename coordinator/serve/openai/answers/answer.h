#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/text/boxes.h"

namespace lapidary {

/// What every part of one answer says alike.
struct AnswerHead {
  std::string id;       // "chatcmpl-…", "cmpl-…", "resp_…"; the server makes it
  int64_t created = 0;  // seconds since 1970
  std::string model;
};

struct Usage {
  int64_t prompt_tokens = 0;  // with those of images
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;  // of images whose embeddings were there already
  int64_t image_tokens = 0;   // of the prompt's
};

/// A token with the logarithm of its probability.
struct TokenLogprob {
  std::string token;  // as logprob_token writes it
  std::string bytes;  // of the text that it stands for; half a character may be among them
  double logprob = 0;
  std::vector<TokenLogprob> top;  // the best ones at its place
};

/// What the model found, in pixels of the request's first picture.
struct FoundThings {
  std::vector<DetectedBox> boxes;
  int64_t width = 0;
  int64_t height = 0;
};

/// OpenAI's reasons alone.
enum class AnswerEnd { stop, length };

/// One of n texts. Of a stream: what one event adds.
struct Choice {
  int64_t index = 0;
  std::string text;
  std::optional<AnswerEnd> end;  // of a stream: in its last event
  /// A stop string, or a token of stop_token_ids.
  std::variant<std::monostate, std::string, int64_t> stopped_by;
  std::optional<std::vector<TokenLogprob>> logprobs;  // empty where not asked for
  int64_t text_before = 0;                            // characters of the text before those of logprobs
  std::optional<std::vector<int32_t>> token_ids;      // empty where not asked for
  std::optional<FoundThings> found;                   // empty where there is none, and before the end
};

/// What is said of usage in an event of a stream.
struct StreamUsage {
  bool asked = false;           // stream_options.include_usage: "usage" is in every event
  std::optional<Usage> so_far;  // in the last event, and in each with continuous_usage_stats; else null
};

}  // namespace lapidary
