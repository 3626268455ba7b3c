#include "coordinator/serve/http/http_server.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <vector>

#include "configs/error.h"
#include "coordinator/serve/http/connection.h"

namespace lapidary {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

/// Where no descriptor is free, trying again at once would only keep the thread busy.
constexpr std::chrono::milliseconds kAcceptPause{100};

std::shared_ptr<asio::ssl::context> read_certificate(const HttpServerOptions& options) {
  if (options.certificate.empty()) return nullptr;
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  context->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  error_code error;
  context->use_certificate_chain_file(options.certificate.string(), error);
  if (error) fail("the certificate ", options.certificate.string(), " cannot be used: ", error.message());
  context->use_private_key_file(options.key.string(), asio::ssl::context::pem, error);
  if (error) fail("the key ", options.key.string(), " cannot be used: ", error.message());
  if (SSL_CTX_check_private_key(context->native_handle()) != 1)
    fail("the key ", options.key.string(), " is not the one of the certificate ",
         options.certificate.string());
  return context;
}

}  // namespace

class HttpServer::Impl : public std::enable_shared_from_this<HttpServer::Impl> {
 public:
  Impl(asio::io_context& io, const HttpServerOptions& options, HttpServerEvents events)
      : shared_(std::make_shared<HttpShared>(HttpShared{options, std::move(events)})),
        acceptor_(io),
        pause_(io),
        tls_(read_certificate(options)) {}

  void listen() {
    const HttpServerOptions& options = shared_->options;
    error_code error;
    const auto address = asio::ip::make_address(options.address, error);
    if (error) fail("'", options.address, "' is no IP address to listen on");
    const tcp::endpoint endpoint(address, options.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) fail("cannot listen on ", options.address, " port ", options.port, ": ", error.message());
    accept();
  }

  void accept() {
    acceptor_.async_accept([self = shared_from_this()](const error_code& error, tcp::socket socket) {
      if (!self->acceptor_.is_open()) return;
      if (error) return self->accept_later();
      HttpShared& shared = *self->shared_;
      if (shared.connections.size() < shared.options.max_connections)
        serve_connection(self->shared_, std::move(socket), self->tls_);
      self->accept();
    });
  }

  void accept_later() {
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([self = shared_from_this()](const error_code& error) {
      if (!error && self->acceptor_.is_open()) self->accept();
    });
  }

  void stop_accepting() {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  }

  void drain() {
    shared_->draining = true;
    for (const auto& connection : all()) connection->close_if_idle();
  }

  void close() {
    stop_accepting();
    shared_->events = {};
    for (const auto& connection : all()) connection->close();
  }

  void reload() { tls_ = read_certificate(shared_->options); }
  uint16_t port() const { return acceptor_.local_endpoint().port(); }
  const HttpShared& shared() const { return *shared_; }

 private:
  std::vector<std::shared_ptr<HttpConnection>> all() const {
    return {shared_->connections.begin(), shared_->connections.end()};
  }

  std::shared_ptr<HttpShared> shared_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::shared_ptr<asio::ssl::context> tls_;
};

HttpServer::HttpServer(asio::io_context& io, const HttpServerOptions& options, HttpServerEvents events)
    : impl_(std::make_shared<Impl>(io, options, std::move(events))) {
  impl_->listen();
}

HttpServer::~HttpServer() { impl_->close(); }

uint16_t HttpServer::port() const { return impl_->port(); }
void HttpServer::reload_certificate() { impl_->reload(); }
void HttpServer::drain() { impl_->drain(); }
void HttpServer::stop_accepting() { impl_->stop_accepting(); }
size_t HttpServer::connections() const { return impl_->shared().connections.size(); }
size_t HttpServer::in_progress() const { return impl_->shared().in_progress; }

}  // namespace lapidary
