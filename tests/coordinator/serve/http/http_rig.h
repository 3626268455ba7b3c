#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "coordinator/serve/http/http_server.h"
#include "tests/support/io_thread.h"

namespace lapidary {

/// A server on a thread of its own that notes each request it is given, and answers it by `answer`.
class HttpRig {
 public:
  using Answer = std::function<void(std::shared_ptr<HttpExchange>)>;
  explicit HttpRig(HttpServerOptions options = {}, Answer answer = says_ok()) : answer_(std::move(answer)) {
    options.port = 0;
    HttpServerEvents events;
    events.rules = [this](const HttpRequest& head) { return rules ? rules(head) : HttpRules{}; };
    events.request = [this](std::shared_ptr<HttpExchange> exchange) {
      {
        const std::lock_guard lock(mutex_);
        seen_.push_back(exchange->request().method + " " + exchange->request().path + " " +
                        std::to_string(exchange->request().body.size()));
      }
      answer_(std::move(exchange));
    };
    thread_.run([&] { server_ = std::make_unique<HttpServer>(thread_.io(), options, std::move(events)); });
  }
  ~HttpRig() {
    thread_.run([this] {
      server_.reset();
      answer_ = nullptr;  // and the exchanges that it keeps
    });
  }

  static Answer says_ok() {
    return [](const std::shared_ptr<HttpExchange>& exchange) {
      exchange->respond(
          {200, "text/plain", {}, "body of " + std::to_string(exchange->request().body.size())});
    };
  }
  template <class Task>
  auto run(Task task) {
    return thread_.run([&] { return task(*server_); });
  }
  uint16_t port() {
    return run([](HttpServer& server) { return server.port(); });
  }
  std::vector<std::string> seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

  std::function<HttpRules(const HttpRequest&)> rules;  // set before the first connection

 private:
  Answer answer_;
  std::mutex mutex_;
  std::vector<std::string> seen_;
  IoThread thread_;
  std::unique_ptr<HttpServer> server_;
};

/// A client that says bytes and hears bytes.
class RawClient {
 public:
  explicit RawClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  bool say(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  /// All that comes until the server closes, or nothing has come for so long.
  std::string hear_all(int milliseconds = 5000) {
    std::string heard;
    while (hear_some(heard, milliseconds)) {
    }
    return heard;
  }
  /// Until `text` has come, or as above.
  std::string hear_until(std::string_view text, int milliseconds = 20'000) {
    std::string heard;
    while (heard.find(text) == heard.npos && hear_some(heard, milliseconds)) {
    }
    return heard;
  }
  bool closed_by_peer() const { return closed_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  bool hear_some(std::string& heard, int milliseconds) {
    pollfd wanted{fd_, POLLIN, 0};
    if (::poll(&wanted, 1, milliseconds) <= 0) return false;
    char bytes[4096];
    const ssize_t size = ::recv(fd_, bytes, sizeof bytes, 0);
    closed_ = size <= 0;
    if (size > 0) heard.append(bytes, static_cast<size_t>(size));
    return size > 0;
  }

  int fd_;
  bool connected_ = false, closed_ = false;
};

}  // namespace lapidary
