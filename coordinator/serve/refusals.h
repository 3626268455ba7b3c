#pragma once

#include <exception>
#include <string>
#include <string_view>

#include "coordinator/serve/http/http_types.h"
#include "coordinator/serve/openai/api_error.h"

namespace lapidary {

HttpResponse response_of(const ApiError& error);
/// What a request threw while it was read.
HttpResponse response_of(const std::exception_ptr& thrown);
/// 429 or 503: the client is to come again.
HttpResponse busy(int status, std::string_view code, const std::string& message);

/// 24 digits that nobody guesses.
std::string random_id();
/// The request's own name of itself, where it is one that a log can show; else a new one.
std::string request_id_of(const HttpRequest& request);

}  // namespace lapidary
