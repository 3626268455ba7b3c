#include "coordinator/fleet/handshake_listener.h"

#include <boost/asio/ip/v6_only.hpp>

#include "configs/error.h"
#include "configs/wire/heartbeat_monitor.h"
#include "coordinator/fleet/host_addresses.h"

namespace lapidary {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

/// Lines about bad connections: a start that goes wrong on many ranks is told whole, a flood is not.
constexpr int kLines = 20;
constexpr std::chrono::seconds kLinesSpan{60};
constexpr std::chrono::milliseconds kAcceptPause{100};

std::string name_of(const tcp::socket& socket) {
  error_code error;
  const tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return "a peer that has gone already";
  asio::ip::address address = peer.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  return endpoint_text(address.to_string(), peer.port());
}

void listen_at(tcp::acceptor& acceptor, const std::string& address, uint16_t port) {
  const tcp::endpoint endpoint(asio::ip::make_address(address), port);
  if (acceptor.is_open()) acceptor.close();
  acceptor.open(endpoint.protocol());
  acceptor.set_option(tcp::acceptor::reuse_address(true));
  if (endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(false));
  acceptor.bind(endpoint);
  acceptor.listen();
}

void listen(tcp::acceptor& acceptor, const HandshakeListenerOptions& options) {
  std::vector<std::string> choices = {"127.0.0.1"};
  if (!options.local) choices = {"::", "0.0.0.0"};  // the second for a host without IPv6
  if (!options.address.empty()) choices = {options.address};
  for (const std::string& address : choices) {
    try {
      return listen_at(acceptor, address, options.port);
    } catch (const boost::system::system_error& e) {
      if (address == choices.back())
        fail("cannot listen on ", endpoint_text(address, options.port), ": ", e.code().message());
    }
  }
}

}  // namespace

HandshakeListener::HandshakeListener(asio::io_context& io, const HandshakeListenerOptions& options,
                                     Events events)
    : options_(options),
      events_(std::move(events)),
      acceptor_(io),
      pause_(io),
      log_limit_(kLines, kLinesSpan) {
  listen(acceptor_, options_);
  listening_ = acceptor_.local_endpoint();
}

void HandshakeListener::close() {
  closed_ = true;
  error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
  for (const PendingConnection& pending : pending_) pending.channel->close();
}

void HandshakeListener::accept() {
  acceptor_.async_accept([self = shared_from_this()](const error_code& error, tcp::socket socket) {
    if (self->closed_) return;
    if (!error) {
      self->start_handshake(std::move(socket));
      return self->accept();
    }
    // Mostly that no descriptor is free; trying again at once would only keep the thread busy.
    self->log(cat("cannot accept a connection: ", error.message()));
    self->pause_.expires_after(kAcceptPause);
    self->pause_.async_wait([self](const error_code&) {
      if (!self->closed_) self->accept();
    });
  });
}

void HandshakeListener::start_handshake(tcp::socket socket) {
  if (pending_.size() >= options_.max_pending)
    close_pending(pending_.begin(), "was closed without a hello, to make room for newer connections");
  std::string peer = name_of(socket);
  auto channel = std::make_shared<FrameChannel>(
      std::move(socket), FrameChannelLimits{kHandshakeFrameLimit, options_.queue_limit});
  pending_.push_back({channel, std::move(peer), HeartbeatMonitor::Clock::now()});
  // Callbacks end with the place: whoever removes a pending has closed its channel or handed it over.
  const Iterator place = std::prev(pending_.end());
  channel->start({[this, place](wire::Frame frame) { on_frame(place, std::move(frame)); },
                  [this, place](const std::string& why) { close_pending(place, "has not joined: " + why); }});
}

void HandshakeListener::on_frame(Iterator pending, wire::Frame frame) {
  if (pending->refused) return;
  if (!frame.has_hello()) return close_pending(pending, cat("said ", frame_name(frame), " before hello"));
  if (const auto reason = events_.refusal(frame.hello())) return refuse(*pending, *reason);
  WorkerConnection connection{pending->channel, pending->peer, std::move(*frame.mutable_hello())};
  pending_.erase(pending);
  events_.admitted(std::move(connection));
}

void HandshakeListener::refuse(PendingConnection& pending, const std::string& reason) {
  log(cat("refused ", pending.peer, ": ", reason));
  wire::Frame answer;
  answer.mutable_refusal()->set_reason(reason);
  pending.refused = true;
  pending.channel->send(encode_frame(answer));
  pending.channel->finish();  // it closes once it has read that, or is closed when its time is over
}

void HandshakeListener::close_pending(Iterator pending, const std::string& why) {
  if (!pending->refused) log(cat(pending->peer, " ", why));
  pending->channel->close();
  pending_.erase(pending);
}

void HandshakeListener::close_overdue(Time now) {
  if (closed_) return;
  while (!pending_.empty() && now - pending_.front().since > nanoseconds_of(options_.hello_seconds))
    close_pending(pending_.begin(), cat("has not said hello within ", options_.hello_seconds, " s"));
  if (const int64_t lines = log_limit_.take_held_back(now))
    events_.log(cat(lines, " more connections were refused, or closed before they had joined"));
}

void HandshakeListener::log(const std::string& line) {
  if (log_limit_.admits(HeartbeatMonitor::Clock::now())) events_.log(line);
}

}  // namespace lapidary
