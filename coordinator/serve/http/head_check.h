#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/serve/http/http_types.h"

namespace lapidary {

/// What a head says of its message, beside what HttpRequest has.
struct RequestHead {
  HttpRequest request;  // without its body
  bool http_11 = true;
  bool keep_alive = true;
  bool chunked = false;
  std::optional<uint64_t> content_length;
  bool expects_continue = false;

  bool has_body() const { return chunked || content_length.value_or(0) > 0; }
};

/// Why a head is not taken; the connection is closed behind it.
struct HeadRefusal {
  int status = 400;
  std::string message;
};

/// Parses the bytes of a request's head, its empty line included (RFC 9112), and refuses whatever two readers
/// of it could take differently, so that no second request hides in a body: lines that end in a bare LF or
/// CR, folded lines, space before a colon, a name or a value with other characters than they may have, no
/// Host or two, a Content-Length that is doubled, listed or no number, any Transfer-Encoding but exactly
/// "chunked" on HTTP/1.1, both of them, targets that are no plain path ("/…" or "*"), versions but 1.0
/// and 1.1. Throws nothing. The result has either a head or a refusal.
struct CheckedHead {
  RequestHead head;
  std::optional<HeadRefusal> refusal;
};
CheckedHead check_head(std::string_view bytes);

}  // namespace lapidary
