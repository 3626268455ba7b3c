#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <set>

#include "coordinator/serve/http/http_server.h"

namespace lapidary {

/// A connection as the server knows it.
class HttpConnection {
 public:
  virtual ~HttpConnection() = default;
  virtual void close() = 0;
  /// Closes it if no request is under way.
  virtual void close_if_idle() = 0;
};

/// What connections share; all on the server's thread.
struct HttpShared {
  HttpServerOptions options;
  HttpServerEvents events;
  std::set<std::shared_ptr<HttpConnection>> connections{};
  size_t bodies = 0;  // bytes that are held
  size_t in_progress = 0;
  bool draining = false;
};

/// Serves one connection until it ends. `tls`: null: none.
void serve_connection(std::shared_ptr<HttpShared> shared, boost::asio::ip::tcp::socket socket,
                      std::shared_ptr<boost::asio::ssl::context> tls);

}  // namespace lapidary
