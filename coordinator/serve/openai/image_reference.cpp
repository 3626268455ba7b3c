#include "coordinator/serve/openai/image_reference.h"

#include <algorithm>
#include <optional>

#include "coordinator/serve/openai/api_error.h"
#include "coordinator/serve/openai/base64.h"
#include "coordinator/serve/openai/request_fields.h"

namespace lapidary {
namespace {

constexpr std::string_view kCode = "invalid_image";

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

void require_picture_type(std::string_view type, const std::string& param) {
  const std::string known = lower(type);
  if (!known.empty() && !known.starts_with("image/") && known != "application/octet-stream")
    refuse(param, kCode, param, " is a data URL of type ", shown(type), ", not of an image");
}

/// What stands between "data:" and the comma.
void require_base64(std::string_view head, const std::string& param) {
  require_picture_type(head.substr(0, head.find(';')), param);
  const size_t last = head.rfind(';');
  if (last == head.npos || lower(head.substr(last + 1)) != "base64")
    refuse(param, kCode, param, " is a data URL that does not end in ';base64' before its comma but is ",
           shown(head), "; only base64 is read");
}

std::string decode_data(std::string_view data, const std::string& param, size_t most_bytes) {
  if (base64_bytes(data) > most_bytes)
    refuse(param, "image_too_large", param, " has ", base64_bytes(data), " bytes, more than ", most_bytes);
  if (data.empty()) refuse(param, kCode, param, " is a data URL without data");
  Base64Result decoded = decode_base64(data);
  if (!decoded.bad) return std::move(decoded.bytes);
  const size_t bad = *decoded.bad;
  if (bad == data.size())
    refuse(param, kCode, param, " has ", bad, " characters of base64, not a multiple of 4");
  if (data[bad] == '-' || data[bad] == '_')
    refuse(param, kCode, param, " is base64url: character ", bad, " of ", data.size(), " is '", data[bad],
           "'; only '+' and '/' are read");
  refuse(param, kCode, param, " is not valid base64 at character ", bad, " of ", data.size());
}

std::optional<char> percent_coded(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    const char small = static_cast<char>(c | 0x20);
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
  };
  if (text.size() < 3 || digit(text[1]) < 0 || digit(text[2]) < 0) return std::nullopt;
  return static_cast<char>(digit(text[1]) << 4 | digit(text[2]));
}

/// The path of file:///path and file://localhost/path.
std::string file_path(std::string_view rest, const std::string& param) {
  const size_t slash = rest.find('/');
  const std::string host = lower(rest.substr(0, slash));
  if (slash == rest.npos || !(host.empty() || host == "localhost"))
    refuse(param, kCode, param, " is a file URL whose host is ", shown(rest.substr(0, slash)),
           ", but only files of this host can be read (file:///path)");
  std::string path;
  for (rest.remove_prefix(slash); !rest.empty();) {
    const bool coded = rest.front() == '%';
    const auto byte = coded ? percent_coded(rest) : rest.front();
    if (!byte || *byte == '\0')
      refuse(param, kCode, param, " is a file URL with ", shown(rest.substr(0, 3)),
             ", which is no byte of a path");
    path += *byte;
    rest.remove_prefix(coded ? 3 : 1);
  }
  return path;
}

}  // namespace

ImageReference read_image_url(std::string_view url, const std::string& param, const ApiLimits& limits) {
  constexpr size_t kLongestScheme = 16, kLongestUrl = 8192;
  const size_t colon = url.substr(0, kLongestScheme).find(':');
  const std::string scheme = colon == url.npos ? "" : lower(url.substr(0, colon));
  const std::string_view rest = colon == url.npos ? "" : url.substr(colon + 1);
  if (scheme == "data") {
    const size_t comma = rest.find(',');
    if (comma == rest.npos) refuse(param, kCode, param, " is a data URL without a comma: ", shown(url));
    require_base64(rest.substr(0, comma), param);
    return {ImageReference::Kind::bytes, decode_data(rest.substr(comma + 1), param, limits.max_image_bytes),
            param};
  }
  if (url.size() > kLongestUrl)
    refuse(param, kCode, param, " is a URL of ", url.size(), " bytes, more than ", kLongestUrl);
  const bool has_host = rest.starts_with("//") && rest.size() > 2;
  if (has_host && (scheme == "http" || scheme == "https"))
    return {ImageReference::Kind::url, std::string(url), param};
  if (has_host && scheme == "file")
    return {ImageReference::Kind::file, file_path(rest.substr(2), param), param};
  refuse(param, kCode, param, " is ", shown(url), ", not a data, http, https or file URL");
}

}  // namespace lapidary
