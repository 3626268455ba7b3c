#include "coordinator/serve/openai/answers/answer_parts.h"

#include <algorithm>
#include <cmath>

#include "configs/error.h"
#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

double rounded(double value, double parts) { return std::round(value * parts) / parts; }

constexpr double kPixelParts = 100;       // two decimals, as in records
constexpr double kNormalizedParts = 1e6;  // less than a pixel of any picture

std::string escaped(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

/// The byte that a piece "<0xHH>" stands for.
std::optional<char> byte_of(const Tokenizer& tokenizer, int32_t id) {
  const auto piece = tokenizer.decoded_piece(id, false);
  if (!piece || !tokenizer.decoder().is_local() || !tokenizer.decoder().is_byte(*piece)) return std::nullopt;
  return static_cast<char>(std::stoi(std::string(piece->substr(3, 2)), nullptr, 16));
}

void write_token(JsonWriter& json, const TokenLogprob& token) {
  json.field("token", token.token).field("logprob", finite_logprob(token.logprob));
  json.key("bytes").begin_list();
  for (const char byte : token.bytes) json.value(static_cast<unsigned char>(byte));
  json.end_list();
}

/// {"rle": {"size": [height, width], "counts"}, "polygon": [[x, y, …], …]}
void write_mask(JsonWriter& json, const DetectedMask& mask) {
  json.begin_object().key("rle").begin_object().key("size").begin_list();
  json.value(mask.height).value(mask.width).end_list().field("counts", mask.rle).end_object();
  json.key("polygon").begin_list();
  for (const std::vector<double>& ring : mask.polygons) {
    json.begin_list();
    for (const double edge : ring) json.value(rounded(edge, kPixelParts));
    json.end_list();
  }
  json.end_list().end_object();
}

}  // namespace

void write_usage(JsonWriter& json, const Usage& usage) {
  const int64_t text_tokens = usage.prompt_tokens - usage.image_tokens;
  json.begin_object();
  json.field("prompt_tokens", usage.prompt_tokens).field("completion_tokens", usage.completion_tokens);
  json.field("total_tokens", usage.prompt_tokens + usage.completion_tokens);
  json.key("prompt_tokens_details").begin_object();
  json.field("cached_tokens", usage.cached_tokens).field("image_tokens", usage.image_tokens);
  json.field("text_tokens", text_tokens).field("audio_tokens", 0).end_object();
  json.key("completion_tokens_details").begin_object();
  json.field("reasoning_tokens", 0).field("text_tokens", usage.completion_tokens);
  json.field("audio_tokens", 0).end_object().end_object();
}

void write_stream_usage(JsonWriter& json, const StreamUsage& usage) {
  if (usage.so_far) {
    write_usage(json.key("usage"), *usage.so_far);
  } else if (usage.asked) {
    json.field("usage", JsonNull{});
  }
}

void write_token_logprob(JsonWriter& json, const TokenLogprob& token) {
  json.begin_object();
  write_token(json, token);
  json.key("top_logprobs").begin_list();
  for (const TokenLogprob& top : token.top) {
    json.begin_object();
    write_token(json, top);
    json.end_object();
  }
  json.end_list().end_object();
}

void write_chat_logprobs(JsonWriter& json, const std::optional<std::vector<TokenLogprob>>& logprobs) {
  if (!logprobs) {
    json.value(JsonNull{});
    return;
  }
  json.begin_object().key("content").begin_list();
  for (const TokenLogprob& token : *logprobs) write_token_logprob(json, token);
  json.end_list().field("refusal", JsonNull{}).end_object();
}

void write_found(JsonWriter& json, const FoundThings& found) {
  json.begin_list();
  for (const DetectedBox& box : found.boxes) {
    json.begin_object().field("label", box.label).key("box").begin_list();
    for (const double edge : box.xyxy) json.value(rounded(edge, kPixelParts));
    json.end_list().key("box_normalized").begin_list();
    for (size_t i = 0; i < box.xyxy.size(); ++i) {
      const auto side = static_cast<double>(std::max<int64_t>(i % 2 == 0 ? found.width : found.height, 1));
      json.value(rounded(box.xyxy[i] / side, kNormalizedParts));
    }
    json.end_list();
    if (box.mask) write_mask(json.key("mask"), *box.mask);
    if (box.partial) json.field("partial", true);
    json.end_object();
  }
  json.end_list();
}

void write_choice_end(JsonWriter& json, const Choice& choice) {
  json.key("finish_reason");
  if (!choice.end) {
    json.value(JsonNull{});
  } else {
    json.value(*choice.end == AnswerEnd::stop ? "stop" : "length");
  }
  json.key("stop_reason");
  if (const auto* text = std::get_if<std::string>(&choice.stopped_by)) {
    json.value(*text);
  } else if (const auto* id = std::get_if<int64_t>(&choice.stopped_by)) {
    json.value(*id);
  } else {
    json.value(JsonNull{});
  }
  if (choice.token_ids) json.list_field("token_ids", *choice.token_ids);
}

TokenLogprob logprob_token(const Tokenizer& tokenizer, int32_t id, bool as_id) {
  TokenLogprob token;
  if (const auto byte = byte_of(tokenizer, id)) {
    token.bytes = *byte;
  } else {
    token.bytes = tokenizer.decode(std::span(&id, 1), false);
  }
  token.token = as_id ? cat("token_id:", id) : invalid_utf8(token.bytes) ? escaped(token.bytes) : token.bytes;
  return token;
}

double finite_logprob(double logprob) {
  constexpr double kNegligible = -9999;
  return logprob > kNegligible ? logprob : kNegligible;  // NaN, too
}

std::string sse_event(std::string_view data) { return std::string("data: ").append(data).append("\n\n"); }

}  // namespace lapidary
