#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "configs/wire/frame_channel.h"
#include "coordinator/fleet/log_limit.h"

namespace lapidary {

struct HandshakeListenerOptions {
  bool local = true;    // listen on loopback only; else on all interfaces, IPv6 and IPv4
  std::string address;  // an IP address to listen on instead
  uint16_t port = 0;    // 0: any that is free
  double hello_seconds = 5;
  size_t max_pending = 256;
  size_t queue_limit = size_t{256} << 20;
};

/// Listens, and keeps those out who do not say a proper hello in time, however many they are: the oldest
/// pending connections make room for new ones, since a worker says hello at once. On the io_context's one
/// thread.
class HandshakeListener : public std::enable_shared_from_this<HandshakeListener> {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct WorkerConnection {
    std::shared_ptr<FrameChannel> channel;
    std::string peer;  // "10.0.0.1:4711"
    wire::Hello hello;
  };
  struct Events {
    std::function<std::optional<std::string>(const wire::Hello&)> refusal;  // nothing: may come in
    std::function<void(WorkerConnection)> admitted;  // to take over the channel's callbacks at once
    std::function<void(const std::string&)> log;
  };

  /// Throws Error where the address cannot be listened on.
  HandshakeListener(boost::asio::io_context& io, const HandshakeListenerOptions& options, Events events);
  void open() { accept(); }
  /// For good; pending connections are left standing outside. No callbacks come after it.
  void close();
  /// To be called now and then: pending connections whose time is over are closed.
  void close_overdue(Time now);
  boost::asio::ip::tcp::endpoint listening() const { return listening_; }

 private:
  struct PendingConnection {
    std::shared_ptr<FrameChannel> channel;
    std::string peer;
    Time since;
    bool refused = false;  // has been told so and may go
  };
  using Iterator = std::list<PendingConnection>::iterator;

  void accept();
  void start_handshake(boost::asio::ip::tcp::socket socket);
  void on_frame(Iterator pending, wire::Frame frame);
  void refuse(PendingConnection& pending, const std::string& reason);
  void close_pending(Iterator pending, const std::string& why);
  void log(const std::string& line);

  HandshakeListenerOptions options_;
  Events events_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::ip::tcp::endpoint listening_;
  boost::asio::steady_timer pause_;
  std::list<PendingConnection> pending_;  // the oldest first
  LogLimit log_limit_;
  bool closed_ = false;
};

}  // namespace lapidary
