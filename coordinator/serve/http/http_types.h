#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lapidary {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// A request as it came: its head is checked (head_check.h), its body whole.
struct HttpRequest {
  std::string method;
  std::string path;   // as sent, without the query; begins with "/"
  std::string query;  // without "?"
  HttpHeaders headers;
  std::string body;
  std::string peer;  // the client's address

  /// The header's value, whatever the case of its name; empty: there is none.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string type = "application/json";
  HttpHeaders headers{};
  std::string body;
};

/// What takes a body piece by piece instead of HttpRequest::body: it is never held whole. What it throws ends
/// the request as HttpRules::refusal does.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual void write(std::string_view piece) = 0;
};

/// What a request's head alone decides.
struct HttpRules {
  size_t max_body = size_t{1} << 20;
  std::shared_ptr<BodySink> sink{};  // null: the body is held
  /// Instead of reading the body: answered at once, and the connection closed where a body is on its way.
  std::shared_ptr<const HttpResponse> refusal{};
};

/// One request and the answer to it. All calls on the server's thread. A client that left makes each of them
/// do nothing. Whoever answers holds it; one that nobody holds any more closes its connection.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual HttpRequest& request() = 0;

  /// The whole answer.
  virtual void respond(HttpResponse response) = 0;

  /// An answer that comes piece by piece: its head, then any number of pieces, then the end. For HTTP/1.1
  /// each piece is a chunk, for HTTP/1.0 the connection's end is the answer's.
  virtual void begin_stream(HttpResponse head) = 0;
  virtual void send(std::string piece) = 0;
  virtual void finish() = 0;

  /// `left` is called once, if the client leaves, or is dropped for reading too slowly, before the answer is
  /// whole.
  virtual void when_gone(std::function<void()> left) = 0;
  virtual bool gone() const = 0;
};

/// An answer of OpenAI's error shape.
HttpResponse error_response(int status, std::string_view type, std::string_view code,
                            std::string_view message);
/// "Not Found" of 404.
std::string_view reason_of(int status);

}  // namespace lapidary
