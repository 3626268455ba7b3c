#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/chat_request.h"
#include "coordinator/serve/openai/completion_request.h"
#include "coordinator/serve/openai/response_request.h"
#include "coordinator/serve/openai/tokenize_request.h"
#include "coordinator/text/utf8.h"

namespace {

using namespace lapidary;

void require(bool holds) {
  if (!holds) std::abort();
}

ApiLimits limits_of(uint8_t choice) {
  ApiLimits limits;
  limits.max_image_bytes = 256;
  limits.max_text_bytes = 512;
  limits.max_tokens = 64;
  limits.flatten_chat = (choice & 8) != 0;
  limits.logprobs = limits.min_p = limits.repetition_penalty = limits.min_tokens = limits.priority =
      (choice & 16) != 0;
  return limits;
}

void check_images(const std::vector<ImageReference>& images, const ApiLimits& limits) {
  require(static_cast<int64_t>(images.size()) <= limits.max_images);
  for (const ImageReference& image : images) {
    require(!image.value.empty() && !image.param.empty());
    if (image.kind == ImageReference::Kind::bytes) require(image.value.size() <= limits.max_image_bytes);
    if (image.kind == ImageReference::Kind::file) require(image.value.find('\0') == image.value.npos);
  }
}

/// What was understood is within the limits.
void check(const GenerationRequest& request, const ApiLimits& limits) {
  require(!invalid_utf8(request.prompt) && request.prompt.size() <= limits.max_text_bytes);
  require(request.n >= 1 && request.n <= limits.max_n);
  require(!request.max_tokens || (*request.max_tokens >= 1 && *request.max_tokens <= limits.max_tokens));
  const double temperature = request.sampling.temperature.value_or(0),
               top_p = request.sampling.top_p.value_or(1);
  require(temperature >= 0 && temperature <= 2 && top_p > 0 && top_p <= 1);
  require(static_cast<int64_t>(request.stop.strings.size()) <= limits.max_stop);
  for (const std::string& stop : request.stop.strings) require(!stop.empty());
  for (const int32_t id : request.stop.token_ids) require(id >= 0);
  check_images(request.images, limits);
}

void parse(uint8_t choice, std::string_view text, const ApiLimits& limits) {
  const boost::json::value body = parse_body(text);
  switch (choice & 7) {
    case 0:
      return check(parse_completion(body, limits), limits);
    case 1:
      return check(parse_response_request(body, limits), limits);
    case 2:
      return check_images(parse_tokenize(body, limits).images, limits);
    case 3:
      require(parse_detokenize(body, limits).tokens.size() <= 64);
      return;
    default:
      return check(parse_chat_completion(body, limits), limits);
  }
}

}  // namespace

/// A first byte that says which endpoint and which limits, then a body: a request within the limits, or an
/// error whose body is JSON and short.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    parse(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1}, limits_of(data[0]));
  } catch (const ApiError& error) {
    require(!invalid_utf8(error.what()) && std::string_view(error.what()).size() < 1024 + 2 * size);
    boost::json::parse(to_json(error));
  }
  return 0;
}
