#pragma once

#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <optional>
#include <string>

#include "configs/error.h"
#include "coordinator/fleet/control_server.h"
#include "coordinator/fleet/hello_check.h"
#include "tests/support/io_thread.h"
#include "tests/support/journal.h"

namespace lapidary {

/// A coordinator's end that notes what it is told: "joined 0/1", "received 0/1 step_done 7", "lost 0/1: why",
/// "log: …".
class ServerRig {
 public:
  static ControlServerOptions options() {
    ControlServerOptions options;
    options.version = "1.0";
    options.settings = {{"dtype", "cafe"}};
    options.token = "secret";
    options.mesh = {.tp = 2, .pp = 1, .replicas = 2, .vision_ranks = 0};
    options.dead_after_seconds = 60;  // none is late because the machine is busy
    options.heartbeat_seconds = 0.05;
    options.hello_seconds = 60;
    return options;
  }
  static wire::Hello hello(int replica, int rank) {
    wire::Hello hello;
    hello.set_version("1.0");
    wire::Setting& setting = *hello.add_settings();
    setting.set_name("dtype");
    setting.set_value("cafe");
    hello.set_token("secret");
    *hello.mutable_mesh() = to_wire(options().mesh);
    hello.set_replica(replica);
    hello.set_rank(rank);
    return hello;
  }

  explicit ServerRig(const ControlServerOptions& options = ServerRig::options()) {
    thread_.run([&] { server_ = std::make_unique<ControlServer>(thread_.io(), options, events()); });
  }
  ~ServerRig() { destroy(); }

  void destroy() {
    thread_.run([this] { server_.reset(); });
  }
  template <class Task>
  auto run(Task task) {
    return thread_.run([&] { return task(*server_); });
  }
  uint16_t port() {
    return run([](ControlServer& server) { return server.port(); });
  }
  std::vector<std::string> endpoints() {
    return run([](ControlServer& server) { return server.endpoints(); });
  }
  void send(int replica, int rank, const wire::Frame& frame) {
    run([&](ControlServer& server) { server.send(replica, rank, encode_frame(frame)); });
  }

  Journal journal;

 private:
  static std::string note(const wire::Frame& frame) {
    if (frame.has_step_done()) return cat("step_done ", frame.step_done().number());
    if (frame.has_fault()) return cat("fault ", frame.fault().reason());
    if (frame.has_heartbeat())
      return cat("heartbeat clock ", frame.heartbeat().clock(), " busy ", frame.heartbeat().busy_size());
    return frame_name(frame);
  }
  ControlServerEvents events() {
    ControlServerEvents events;
    events.joined = [this](int replica, int rank, const wire::Hello&) {
      journal.add(cat("joined ", replica, "/", rank));
    };
    events.received = [this](int replica, int rank, const wire::Frame& frame) {
      journal.add(cat("received ", replica, "/", rank, " ", note(frame)));
    };
    events.lost = [this](int replica, int rank, const std::string& why) {
      journal.add(cat("lost ", replica, "/", rank, ": ", why));
    };
    events.log = [this](const std::string& line) { journal.add("log: " + line); };
    return events;
  }

  IoThread thread_;
  std::unique_ptr<ControlServer> server_;
};

/// A bare connection that says whatever a test wants it to say, and waits for answers.
class Peer {
 public:
  explicit Peer(uint16_t port) : Peer("127.0.0.1", port) {}
  Peer(const std::string& address, uint16_t port) : socket_(io_) {
    socket_.connect({boost::asio::ip::make_address(address), port});
    wait_at_most_two_minutes();
  }
  explicit Peer(boost::asio::ip::tcp::acceptor& acceptor) : socket_(io_) {
    acceptor.accept(socket_);
    wait_at_most_two_minutes();
  }

  /// False once the other side has broken the connection.
  bool say(const std::string& bytes) {
    boost::system::error_code error;
    boost::asio::write(socket_, boost::asio::buffer(bytes), error);
    return !error;
  }
  bool say(const wire::Frame& frame) { return say(encode_frame(frame).bytes()); }
  bool say(const wire::Hello& hello) {
    wire::Frame frame;
    *frame.mutable_hello() = hello;
    return say(frame);
  }
  /// The next frame; nothing when the other side has closed.
  std::optional<wire::Frame> hear() {
    while (true) {
      if (auto frame = decoder_.next()) return frame;
      std::array<char, 4096> bytes;
      const ssize_t size = ::recv(socket_.native_handle(), bytes.data(), bytes.size(), 0);
      if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        throw std::runtime_error("nothing was heard");
      if (size <= 0) return std::nullopt;
      decoder_.feed({bytes.data(), static_cast<size_t>(size)});
    }
  }
  /// The next frame but for heartbeats.
  std::optional<wire::Frame> hear_news() {
    auto frame = hear();
    while (frame && frame->has_heartbeat()) frame = hear();
    return frame;
  }
  /// The reason of the refusal that comes first; "" where something else does.
  std::string refusal() {
    const auto frame = hear();
    return frame && frame->has_refusal() ? frame->refusal().reason() : "";
  }
  bool is_welcome() {
    const auto frame = hear();
    return frame && frame->has_welcome();
  }
  void close() { socket_.close(); }

 private:
  void wait_at_most_two_minutes() {
    const timeval patience{120, 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }

  boost::asio::io_context io_;
  boost::asio::ip::tcp::socket socket_;
  FrameDecoder decoder_;
};

inline wire::Frame step_done(uint64_t number) {
  wire::Frame frame;
  frame.mutable_step_done()->set_number(number);
  return frame;
}

}  // namespace lapidary
