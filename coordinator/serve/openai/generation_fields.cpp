#include "coordinator/serve/openai/generation_fields.h"

#include <algorithm>
#include <limits>

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/unsupported.h"

namespace lapidary {
namespace {

namespace json = boost::json;

constexpr int64_t kMostInt32 = std::numeric_limits<int32_t>::max();

/// Below it a text is greedy: a division by what is smaller may leave float's range.
constexpr double kLeastTemperature = 1e-5;
/// In place of 0, which stands for "off" on the wire: less than a share of the vocabulary, so that the best
/// token alone is left.
constexpr double kLeastTopP = 1e-6;

void require_done(bool done, const RequestFields& fields, std::string_view name) {
  if (!done)
    refuse(fields.param(name), "unsupported_parameter", fields.param(name), " is ", shown(*fields.find(name)),
           ", which this server does not support");
}

SamplingFields read_sampling(const RequestFields& fields, const ApiLimits& limits) {
  SamplingFields sampling;
  sampling.temperature = fields.number("temperature", 0, 2);
  if (sampling.temperature && *sampling.temperature < kLeastTemperature) sampling.temperature = 0;
  sampling.top_p = fields.number("top_p", 0, 1);
  if (sampling.top_p) sampling.top_p = std::max(*sampling.top_p, kLeastTopP);
  sampling.top_k = fields.integer("top_k", -1, kMostInt32);
  if (sampling.top_k) sampling.top_k = std::max(*sampling.top_k, int64_t{0});  // -1: vLLM's "off"
  sampling.min_p = fields.number("min_p", 0, 1);
  if (sampling.min_p.value_or(0) != 0) require_done(limits.min_p, fields, "min_p");
  sampling.repetition_penalty = fields.number("repetition_penalty", 0, 2, false);
  if (sampling.repetition_penalty.value_or(1) != 1)
    require_done(limits.repetition_penalty, fields, "repetition_penalty");
  sampling.seed = fields.exact_integer("seed");
  return sampling;
}

void add_stop(const json::value& value, const std::string& param, const ApiLimits& limits,
              std::vector<std::string>& strings) {
  strings.push_back(to_text(value, param, limits.max_stop_bytes));
  if (strings.back().empty()) refuse(param, "invalid_value", param, " is empty, but every text holds that");
}

std::vector<std::string> read_stop_strings(const RequestFields& fields, const ApiLimits& limits) {
  std::vector<std::string> strings;
  const json::value* stop = fields.find("stop");
  if (!stop) return strings;
  const std::string param = fields.param("stop");
  if (stop->is_string()) {
    add_stop(*stop, param, limits, strings);
    return strings;
  }
  if (!stop->is_array()) refuse_type(param, *stop, "a string or a list of strings");
  const json::array& list = stop->get_array();
  if (static_cast<int64_t>(list.size()) > limits.max_stop)
    refuse(param, "array_above_max_length", param, " has ", list.size(), " strings, more than ",
           limits.max_stop);
  for (size_t i = 0; i < list.size(); ++i) add_stop(list[i], cat(param, "[", i, "]"), limits, strings);
  return strings;
}

StopFields read_stop(const RequestFields& fields, const ApiLimits& limits) {
  StopFields stop;
  stop.strings = read_stop_strings(fields, limits);
  if (const json::array* ids = fields.list("stop_token_ids"))
    stop.token_ids = to_token_ids(*ids, fields.param("stop_token_ids"), limits.max_stop_token_ids);
  stop.include_in_output = fields.flag("include_stop_str_in_output").value_or(false);
  stop.ignore_eos = fields.flag("ignore_eos").value_or(false);
  stop.min_tokens = fields.integer("min_tokens", 0, limits.max_tokens).value_or(0);
  if (stop.min_tokens > 0) require_done(limits.min_tokens, fields, "min_tokens");
  return stop;
}

AnswerFields read_answer(const RequestFields& fields) {
  AnswerFields answer;
  answer.stream = fields.flag("stream").value_or(false);
  if (const auto options = fields.object("stream_options")) {
    if (!answer.stream)
      refuse(fields.param("stream_options"), "invalid_value", fields.param("stream_options"),
             " is given, but stream is not true");
    answer.include_usage = options->flag("include_usage").value_or(false);
    answer.continuous_usage_stats = options->flag("continuous_usage_stats").value_or(false);
  }
  answer.skip_special_tokens = fields.flag("skip_special_tokens").value_or(true);
  fields.flag("spaces_between_special_tokens");  // a text of Gemma's tokens has no spaces of its own
  answer.return_token_ids = fields.flag("return_token_ids").value_or(false);
  answer.return_tokens_as_token_ids = fields.flag("return_tokens_as_token_ids").value_or(false);
  return answer;
}

/// It is written to logs and headers.
std::string read_request_id(const RequestFields& fields) {
  constexpr size_t kLongestId = 128;
  const std::string id = fields.text("request_id", kLongestId).value_or("");
  const auto plain = [](char c) { return c > ' ' && c <= '~'; };
  const auto bad = std::find_if_not(id.begin(), id.end(), plain);
  if (bad != id.end())
    refuse(fields.param("request_id"), "invalid_value", fields.param("request_id"), " is ", shown(id),
           ", whose byte ", bad - id.begin(), " is no visible character of ASCII");
  return id;
}

}  // namespace

void read_generation_fields(const RequestFields& fields, const ApiLimits& limits,
                            GenerationRequest& request) {
  refuse_unsupported(fields);
  request.model = read_model(fields);
  request.n = fields.integer("n", 1, limits.max_n).value_or(1);
  request.priority = fields.integer("priority", -kMostInt32 - 1, kMostInt32).value_or(0);
  if (request.priority != 0) require_done(limits.priority, fields, "priority");
  request.request_id = read_request_id(fields);
  request.add_special_tokens = fields.flag("add_special_tokens").value_or(true);
  request.sampling = read_sampling(fields, limits);
  request.stop = read_stop(fields, limits);
  request.answer = read_answer(fields);
}

std::string read_model(const RequestFields& fields) {
  constexpr size_t kLongestName = 256;
  return fields.text("model", kLongestName).value_or("");
}

void read_max_tokens(const RequestFields& fields, std::initializer_list<std::string_view> names,
                     const ApiLimits& limits, GenerationRequest& request) {
  for (const std::string_view name : names) {
    const auto tokens = fields.integer(name, 1, limits.max_tokens);
    if (!request.max_tokens) request.max_tokens = tokens;
  }
  if (request.max_tokens && *request.max_tokens < request.stop.min_tokens)
    refuse(fields.param("min_tokens"), "invalid_value", fields.param("min_tokens"), " is ",
           request.stop.min_tokens, ", more than the ", *request.max_tokens, " tokens that there may be");
}

void set_logprobs(const RequestFields& fields, std::string_view name, int64_t wanted, const ApiLimits& limits,
                  GenerationRequest& request) {
  require_done(limits.logprobs, fields, name);
  request.answer.logprobs = wanted;
}

std::vector<int32_t> to_token_ids(const json::array& list, const std::string& param, int64_t most) {
  if (static_cast<int64_t>(list.size()) > most)
    refuse(param, "array_above_max_length", param, " has ", list.size(), " tokens, more than ", most);
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i)
    ids.push_back(static_cast<int32_t>(to_integer(list[i], cat(param, "[", i, "]"), 0, kMostInt32)));
  return ids;
}

}  // namespace lapidary
