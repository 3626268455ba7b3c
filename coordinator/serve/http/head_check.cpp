#include "coordinator/serve/http/head_check.h"

#include <strings.h>
#include <algorithm>
#include <array>
#include <charconv>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr size_t kMostHeaders = 100;

bool is_token_char(char c) {
  static constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kOthers.find(c) != kOthers.npos;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

/// Visible characters, and what lies above ASCII.
bool is_visible(char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; }

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// Ends the check; caught in check_head alone.
struct Refused {
  HeadRefusal refusal;
};
template <class... Parts>
[[noreturn]] void refuse(int status, const Parts&... parts) {
  throw Refused{{status, cat(parts...)}};
}

/// The next line, without its end.
std::string_view next_line(std::string_view& rest) {
  const size_t end = rest.find_first_of("\r\n");
  if (end == rest.npos || rest.substr(end, 2) != "\r\n")
    refuse(400, "a line of the head does not end in CR LF");
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return line;
}

void read_target(std::string_view target, RequestHead& head) {
  if (target.empty() || !std::all_of(target.begin(), target.end(), is_visible))
    refuse(400, "the request's target has a character that none may have");
  if (target == "*" && head.request.method == "OPTIONS") {
    head.request.path = target;
    return;
  }
  if (target.front() != '/') refuse(400, "the request's target is no path that begins with /");
  if (target.find('#') != target.npos) refuse(400, "the request's target has a fragment");
  const size_t question = std::min(target.find('?'), target.size());
  head.request.path = target.substr(0, question);
  if (question < target.size()) head.request.query = target.substr(question + 1);
}

void read_request_line(std::string_view line, RequestHead& head) {
  const size_t first = line.find(' '), second = line.find(' ', first == line.npos ? first : first + 1);
  if (second == line.npos || line.find(' ', second + 1) != line.npos)
    refuse(400, "the request's first line is not METHOD TARGET VERSION");
  const std::string_view method = line.substr(0, first), version = line.substr(second + 1);
  if (!is_token(method) || method.size() > 32) refuse(400, "the request's method is none");
  head.request.method = method;
  if (version == "HTTP/1.0") {
    head.http_11 = head.keep_alive = false;
  } else if (version != "HTTP/1.1") {
    refuse(version.starts_with("HTTP/") ? 505 : 400,
           "the request's version is neither HTTP/1.1 nor HTTP/1.0");
  }
  if (method == "CONNECT" || method == "TRACE") refuse(405, "no ", method, " here");
  read_target(line.substr(first + 1, second - first - 1), head);
}

void read_header(std::string_view line, RequestHead& head) {
  if (line.front() == ' ' || line.front() == '\t') refuse(400, "a line of the head is folded");
  const size_t colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon)))
    refuse(400, "a line of the head is not NAME: VALUE");
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (!std::all_of(value.begin(), value.end(), [](char c) { return c == ' ' || c == '\t' || is_visible(c); }))
    refuse(400, "the header ", line.substr(0, colon), " has a character that none may have");
  head.request.headers.emplace_back(line.substr(0, colon), value);
  if (head.request.headers.size() > kMostHeaders) refuse(431, "more than ", kMostHeaders, " headers");
}

size_t count(const HttpRequest& request, std::string_view name) {
  return static_cast<size_t>(
      std::count_if(request.headers.begin(), request.headers.end(),
                    [&](const auto& header) { return same_name(header.first, name); }));
}

void read_length(RequestHead& head) {
  const std::string_view text = head.request.header("Content-Length");
  uint64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (error != std::errc() || end != text.data() + text.size())
    refuse(400, "the Content-Length is no whole number");
  head.content_length = length;
}

void read_framing(RequestHead& head) {
  for (const char* name : {"Host", "Content-Length", "Transfer-Encoding", "Expect", "Connection"})
    if (count(head.request, name) > 1) refuse(400, "the header ", name, " comes more than once");
  if (count(head.request, "Host") == 0 && head.http_11) refuse(400, "the header Host is missing");
  const bool encoded = count(head.request, "Transfer-Encoding") > 0,
             measured = count(head.request, "Content-Length") > 0;
  if (encoded && measured) refuse(400, "both Transfer-Encoding and Content-Length");
  if (encoded && (!head.http_11 || !same_name(head.request.header("Transfer-Encoding"), "chunked")))
    refuse(400, "a Transfer-Encoding other than exactly chunked, on HTTP/1.1");
  head.chunked = encoded;
  if (measured) read_length(head);
}

void read_connection(RequestHead& head) {
  const std::string_view connection = head.request.header("Connection");
  for (size_t at = 0; at <= connection.size();) {
    const size_t comma = std::min(connection.find(',', at), connection.size());
    const std::string_view option = trimmed(connection.substr(at, comma - at));
    if (same_name(option, "close")) head.keep_alive = false;
    if (same_name(option, "keep-alive") && !head.http_11) head.keep_alive = true;
    at = comma + 1;
  }
  const std::string_view expect = head.request.header("Expect");
  if (expect.empty() || !head.http_11) return;
  if (!same_name(expect, "100-continue")) refuse(417, "an Expect other than 100-continue");
  head.expects_continue = true;
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [known, value] : headers)
    if (same_name(known, name)) return value;
  return {};
}

CheckedHead check_head(std::string_view bytes) {
  CheckedHead checked;
  try {
    read_request_line(next_line(bytes), checked.head);
    for (std::string_view line = next_line(bytes); !line.empty(); line = next_line(bytes))
      read_header(line, checked.head);
    read_framing(checked.head);
    read_connection(checked.head);
  } catch (const Refused& refused) {
    checked.refusal = refused.refusal;
  }
  return checked;
}

}  // namespace lapidary
