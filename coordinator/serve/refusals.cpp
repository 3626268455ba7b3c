#include "coordinator/serve/refusals.h"

#include <cstdint>
#include <random>

#include "configs/failure_text.h"

namespace lapidary {

std::string random_id() {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::random_device random;
  std::string id;
  for (int word = 0; word < 4; ++word)
    for (uint32_t bits = random(), i = 0; i < 6; ++i, bits >>= 4) id += kDigits[bits & 15];
  return id;
}

HttpResponse response_of(const ApiError& error) {
  HttpResponse response;
  response.status = error.status();
  response.body = to_json(error);
  return response;
}

HttpResponse response_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const ApiError& error) {
    return response_of(error);
  } catch (const std::exception& error) {
    return response_of(ApiError(500, "server_error", "internal_error", failure_text(error)));
  }
}

HttpResponse busy(int status, std::string_view code, const std::string& message) {
  HttpResponse response =
      response_of(ApiError{status, status == 429 ? "rate_limit_error" : "server_error", code, message});
  response.headers = {{"Retry-After", "1"}, {"x-should-retry", "true"}};
  return response;
}

std::string request_id_of(const HttpRequest& request) {
  const std::string_view given = request.header("x-request-id");
  constexpr size_t kLongest = 128;
  const bool plain = !given.empty() && given.size() <= kLongest &&
                     given.find_first_not_of(
                         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:") == given.npos;
  return plain ? std::string(given) : "req_" + random_id();
}

}  // namespace lapidary
