#include "coordinator/serve/http/exchange.h"

#include <array>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <charconv>
#include <ctime>
#include <stdexcept>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

/// "Tue, 01 Dec 2026 12:00:00 GMT"
std::string date_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 40> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

void add(std::string& bytes, std::string_view name, std::string_view value) {
  bytes.append(name).append(": ").append(value).append("\r\n");
}

std::string head_bytes(const HttpResponse& response, bool close) {
  std::string bytes = cat("HTTP/1.1 ", response.status, " ", reason_of(response.status), "\r\n");
  add(bytes, "Date", date_now());
  if (!response.type.empty()) add(bytes, "Content-Type", response.type);
  for (const auto& [name, value] : response.headers) add(bytes, name, value);
  if (close) add(bytes, "Connection", "close");
  return bytes;
}

std::string chunk_of(std::string_view piece) {
  std::array<char, 16> size{};
  std::string bytes(size.data(), std::to_chars(size.data(), size.data() + size.size(), piece.size(), 16).ptr);
  bytes.append("\r\n").append(piece).append("\r\n");
  return bytes;
}

}  // namespace

std::string_view reason_of(int status) {
  static constexpr std::pair<int, std::string_view> kReasons[] = {{200, "OK"},
                                                                  {204, "No Content"},
                                                                  {304, "Not Modified"},
                                                                  {400, "Bad Request"},
                                                                  {401, "Unauthorized"},
                                                                  {403, "Forbidden"},
                                                                  {404, "Not Found"},
                                                                  {405, "Method Not Allowed"},
                                                                  {408, "Request Timeout"},
                                                                  {409, "Conflict"},
                                                                  {413, "Content Too Large"},
                                                                  {415, "Unsupported Media Type"},
                                                                  {417, "Expectation Failed"},
                                                                  {422, "Unprocessable Content"},
                                                                  {429, "Too Many Requests"},
                                                                  {431, "Request Header Fields Too Large"},
                                                                  {500, "Internal Server Error"},
                                                                  {501, "Not Implemented"},
                                                                  {503, "Service Unavailable"},
                                                                  {504, "Gateway Timeout"},
                                                                  {505, "HTTP Version Not Supported"}};
  for (const auto& [known, reason] : kReasons)
    if (known == status) return reason;
  return "Unknown";
}

HttpResponse error_response(int status, std::string_view type, std::string_view code,
                            std::string_view message) {
  const auto quoted = [](std::string_view text) { return boost::json::serialize(boost::json::string(text)); };
  HttpResponse response;
  response.status = status;
  response.body = cat(R"({"error":{"message":)", quoted(message), R"(,"type":)", quoted(type),
                      R"(,"param":null,"code":)", quoted(code), "}}");
  return response;
}

std::string response_bytes(const HttpResponse& response, bool head_only, bool close) {
  std::string bytes = head_bytes(response, close);
  if (response.status != 204 && response.status != 304)
    add(bytes, "Content-Length", std::to_string(response.body.size()));
  bytes += "\r\n";
  if (!head_only) bytes += response.body;
  return bytes;
}

Exchange::Exchange(std::shared_ptr<AnswerPipe> pipe, const RequestHead& head)
    : pipe_(std::move(pipe)),
      request_(head.request),
      http_11_(head.http_11),
      head_only_(head.request.method == "HEAD") {
  state_->closes = !head.keep_alive;
}

/// Whoever was to answer has forgotten it: the connection says so by its end.
Exchange::~Exchange() {
  state_->forgotten = !state_->whole;
  if (state_->forgotten && !left_) pipe_->answered();
}

void Exchange::respond(HttpResponse response) {
  if (left_) return;
  if (begun_) throw std::logic_error("a request is answered twice");
  begun_ = true;
  state_->closes = state_->closes || pipe_->draining();
  pipe_->write(response_bytes(response, head_only_, state_->closes));
  end();
}

void Exchange::begin_stream(HttpResponse head) {
  if (left_) return;
  if (begun_) throw std::logic_error("a request is answered twice");
  begun_ = true;
  state_->closes = state_->closes || pipe_->draining() || !http_11_;
  std::string bytes = head_bytes(head, state_->closes);
  if (http_11_) add(bytes, "Transfer-Encoding", "chunked");
  pipe_->write(bytes + "\r\n");
  if (!head.body.empty()) send(std::move(head.body));
}

void Exchange::send(std::string piece) {
  if (left_ || piece.empty() || head_only_) return;
  pipe_->write(http_11_ ? chunk_of(piece) : std::move(piece));
  if (pipe_->behind()) pipe_->drop();
}

void Exchange::finish() {
  if (left_) return;
  if (http_11_ && !head_only_) pipe_->write("0\r\n\r\n");
  end();
}

void Exchange::end() {
  state_->whole = true;
  when_gone_ = nullptr;
  pipe_->answered();
}

void Exchange::when_gone(std::function<void()> left) {
  if (left_ || state_->whole) return;
  when_gone_ = std::move(left);
}

void Exchange::leave() {
  if (std::exchange(left_, true) || state_->whole) return;
  if (const auto left = std::exchange(when_gone_, nullptr)) left();
}

}  // namespace lapidary
