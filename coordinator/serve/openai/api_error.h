#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "configs/error.h"

namespace lapidary {

/// Why a request is not answered, as OpenAI's clients read it.
class ApiError : public Error {
 public:
  ApiError(int status, std::string_view type, std::string_view code, const std::string& message,
           std::optional<std::string> param = std::nullopt);

  int status() const { return status_; }  // of HTTP
  const std::string& type() const { return type_; }
  const std::string& code() const { return code_; }  // empty: null
  const std::optional<std::string>& param() const { return param_; }

 private:
  int status_;
  std::string type_;
  std::string code_;
  std::optional<std::string> param_;
};

/// {"error":{"message","type","param","code"}}: always all four; no param and no code are null.
std::string to_json(const ApiError& error);

/// Throws 400, invalid_request_error. The parts join to one sentence that names the value and the limit.
template <class... Parts>
[[noreturn]] void refuse(const std::string& param, std::string_view code, const Parts&... parts) {
  throw ApiError(400, "invalid_request_error", code, cat(parts...), param);
}

/// 404: no model of that name is served.
ApiError model_not_found(std::string_view model);

/// Throws 400, context_length_exceeded, where prompt and completion are more than a sequence may have.
void require_context(int64_t prompt_tokens, int64_t completion_tokens, int64_t max_model_len,
                     const std::string& param);

}  // namespace lapidary
