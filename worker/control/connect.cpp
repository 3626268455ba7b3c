#include "worker/control/connect.h"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <optional>
#include <thread>

#include "configs/error.h"
#include "configs/wire/heartbeat_monitor.h"

namespace lapidary {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Time = HeartbeatMonitor::Time;

constexpr std::chrono::milliseconds kFirstPause{50}, kLongestPause{1000};

/// Why an endpoint did not welcome: it may yet, or it said that it won't.
struct Answer {
  std::optional<Connection> connection;
  std::string why;
  bool refused = false;
};

/// Runs the io_context until `done` holds; false when the time is over first.
template <class Done>
bool run_until(asio::io_context& io, Time deadline, const Done& done) {
  io.restart();
  while (!done())
    if (io.run_one_until(deadline) == 0) break;
  return done();
}

std::pair<std::string, std::string> host_and_port(const std::string& endpoint) {
  const size_t colon = endpoint.rfind(':');
  if (colon == endpoint.npos || colon == 0 || colon + 1 == endpoint.size())
    fail("\"", endpoint, "\" is no host:port of a coordinator");
  std::string host = endpoint.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return {host, endpoint.substr(colon + 1)};
}

/// Gives why it could not be reached, empty where it was.
std::string connect(asio::io_context& io, tcp::socket& socket, const std::string& endpoint, Time deadline) {
  const auto [host, port] = host_and_port(endpoint);
  tcp::resolver resolver(io);
  std::optional<error_code> result;
  resolver.async_resolve(host, port, [&](const error_code& error, const tcp::resolver::results_type& found) {
    if (error) return void(result = error);
    asio::async_connect(socket, found,
                        [&](const error_code& failure, const tcp::endpoint&) { result = failure; });
  });
  if (!run_until(io, deadline, [&] { return result.has_value(); })) {
    resolver.cancel();
    error_code ignored;
    socket.close(ignored);
    io.restart();
    io.run();  // what was begun here refers to this function's variables
    return "cannot be reached in time";
  }
  return *result ? result->message() : "";
}

/// Frames and the end of a channel that nobody has taken over yet.
struct Early {
  std::vector<wire::Frame> frames;
  std::optional<std::string> closed;
};

Answer greet(asio::io_context& io, const std::shared_ptr<FrameChannel>& channel, const wire::Hello& hello,
             Time deadline) {
  const auto early = std::make_shared<Early>();
  channel->start({[early](wire::Frame frame) { early->frames.push_back(std::move(frame)); },
                  [early](const std::string& why) { early->closed = why; }});
  wire::Frame greeting;
  *greeting.mutable_hello() = hello;
  channel->send(encode_frame(greeting));
  const bool in_time = run_until(io, deadline, [&] { return !early->frames.empty() || early->closed; });
  if (!early->frames.empty() && early->frames[0].has_welcome()) {
    Connection connection{channel, early->frames[0].welcome(), {}};
    connection.early.assign(std::next(early->frames.begin()), early->frames.end());
    if (!early->closed) return {std::move(connection), "", false};
  }
  channel->close();
  if (!early->frames.empty() && early->frames[0].has_refusal())
    return {std::nullopt, early->frames[0].refusal().reason(), true};
  if (!in_time) return {std::nullopt, "does not answer", false};
  return {std::nullopt, early->closed.value_or("answers as no coordinator does"), false};
}

Answer try_endpoint(asio::io_context& io, const ConnectOptions& options, const std::string& endpoint,
                    const wire::Hello& hello) {
  const Time deadline = HeartbeatMonitor::Clock::now() + nanoseconds_of(options.answer_seconds);
  tcp::socket socket(io);
  if (const std::string why = connect(io, socket, endpoint, deadline); !why.empty())
    return {std::nullopt, why, false};
  return greet(io, std::make_shared<FrameChannel>(std::move(socket), options.limits), hello, deadline);
}

}  // namespace

Connection connect_to_coordinator(asio::io_context& io, const ConnectOptions& options,
                                  const wire::Hello& hello) {
  if (options.endpoints.empty()) fail("no coordinator's address is known");
  const Time deadline = HeartbeatMonitor::Clock::now() + nanoseconds_of(options.connect_seconds);
  for (auto pause = kFirstPause;; pause = std::min(2 * pause, kLongestPause)) {
    std::string reasons;
    bool refused = false;
    for (const std::string& endpoint : options.endpoints) {
      Answer answer = try_endpoint(io, options, endpoint, hello);
      if (answer.connection) return std::move(*answer.connection);
      // One that refuses may be another job's, at an address that means another host over there.
      if (answer.refused && !refused) reasons.clear();
      if (answer.refused || !refused) reasons += cat(reasons.empty() ? "" : "; ", endpoint, ": ", answer.why);
      refused = refused || answer.refused;
    }
    if (refused) fail("the coordinator refused this rank: ", reasons);
    if (HeartbeatMonitor::Clock::now() + pause > deadline)
      fail("no coordinator was found within ", options.connect_seconds, " s: ", reasons);
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace lapidary
