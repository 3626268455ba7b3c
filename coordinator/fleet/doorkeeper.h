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

struct DoorkeeperOptions {
  bool local = true;    // listen on loopback only; else on all interfaces, IPv6 and IPv4
  std::string address;  // an IP address to listen on instead
  uint16_t port = 0;    // 0: any that is free
  double hello_seconds = 5;
  size_t strangers = 256;
  size_t queue_limit = size_t{256} << 20;
};

/// Listens, and keeps those out who do not say a proper hello in time, however many they are: the oldest
/// strangers make room for new ones, since a worker says hello at once. On the io_context's one thread.
class Doorkeeper : public std::enable_shared_from_this<Doorkeeper> {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Guest {
    std::shared_ptr<FrameChannel> channel;
    std::string peer;  // "10.0.0.1:4711"
    wire::Hello hello;
  };
  struct Events {
    std::function<std::optional<std::string>(const wire::Hello&)> refusal;  // nothing: may come in
    std::function<void(Guest)> admitted;  // to take over the channel's callbacks at once
    std::function<void(const std::string&)> log;
  };

  /// Throws Error where the address cannot be listened on.
  Doorkeeper(boost::asio::io_context& io, const DoorkeeperOptions& options, Events events);
  void open() { accept(); }
  /// For good; strangers are left standing outside. No callbacks come after it.
  void close();
  /// To be called now and then: strangers whose time is over are closed.
  void look_around(Time now);
  boost::asio::ip::tcp::endpoint listening() const { return listening_; }

 private:
  struct Stranger {
    std::shared_ptr<FrameChannel> channel;
    std::string peer;
    Time since;
    bool refused = false;  // has been told so and may go
  };
  using Place = std::list<Stranger>::iterator;

  void accept();
  void greet(boost::asio::ip::tcp::socket socket);
  void spoke(Place stranger, wire::Frame frame);
  void refuse(Stranger& stranger, const std::string& reason);
  void turn_away(Place stranger, const std::string& why);
  void log(const std::string& line);

  DoorkeeperOptions options_;
  Events events_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::ip::tcp::endpoint listening_;
  boost::asio::steady_timer pause_;
  std::list<Stranger> strangers_;  // the oldest first
  LogLimit log_limit_;
  bool closed_ = false;
};

}  // namespace lapidary
