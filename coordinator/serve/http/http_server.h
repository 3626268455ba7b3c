#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/serve/http/http_types.h"

namespace lapidary {

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 8000;  // 0: any that is free
  /// PEM files; empty: no TLS.
  std::filesystem::path certificate, key;
  size_t max_connections = 4096;        // of more, new ones are closed
  size_t max_head = size_t{16} << 10;   // bytes
  size_t max_bodies = size_t{1} << 30;  // bytes of all bodies that are held at once; more is answered 503
  size_t max_unsent =
      size_t{4} << 20;        // bytes of a stream that wait for a client; one that is behind is dropped
  double head_seconds = 10;   // from a request's first byte to the end of its head
  double body_seconds = 60;   // for the body, and 10 s more for each 10 MB of it
  double idle_seconds = 75;   // between two requests
  double write_seconds = 30;  // in which a client takes something of what waits for it
};

struct HttpServerEvents {
  /// A request's head is there. Called before its body is read.
  std::function<HttpRules(const HttpRequest& head)> rules = [](const HttpRequest&) { return HttpRules{}; };
  /// A request is there.
  std::function<void(std::shared_ptr<HttpExchange>)> request;
};

/// HTTP/1.1 and 1.0, with TLS where there is a certificate, on one thread: all calls and callbacks are on the
/// io_context's. Strict about messages (head_check.h), patient with nobody: heads, bodies, idle connections
/// and slow readers have deadlines, and all that waits in memory is bounded.
class HttpServer {
 public:
  /// Listens. Throws Error where the address, or the certificate, cannot be used.
  HttpServer(boost::asio::io_context& io, const HttpServerOptions& options, HttpServerEvents events);
  /// Closes all connections, without callbacks.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  /// Certificate and key are read again, for connections from now on. Throws Error and keeps the old ones
  /// where they cannot be used.
  void reload_certificate();
  /// From now on answers say `Connection: close`, and idle connections are closed.
  void drain();
  /// No new connections.
  void stop_accepting();
  size_t connections() const;
  /// Requests that were taken and are not answered whole.
  size_t in_progress() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // also held by what the io_context has under way
};

}  // namespace lapidary
