#pragma once

#include <string>
#include <string_view>

#include "coordinator/serve/openai/api_limits.h"

namespace lapidary {

/// Where the bytes of a request's image are.
struct ImageReference {
  enum class Kind { bytes, url, file };
  Kind kind = Kind::bytes;
  std::string value;  // the bytes of the picture's file; an http or https URL as it came; a path of this host
  std::string param;  // its place in the request, for errors
};

/// A URL of a request. A data URL is decoded: `data:[image/…][;parameters];base64,…`, the type and its
/// parameters are passed over because a picture's bytes say what it is. base64url, percent-coding and white
/// space are refused. Whether other URLs may be fetched, and files read, is the caller's to decide. Throws
/// ApiError.
ImageReference read_image_url(std::string_view url, const std::string& param, const ApiLimits& limits);

}  // namespace lapidary
