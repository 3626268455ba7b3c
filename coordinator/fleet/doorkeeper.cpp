#include "coordinator/fleet/doorkeeper.h"

#include <boost/asio/ip/v6_only.hpp>

#include "configs/error.h"
#include "configs/wire/pulse.h"
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

void listen(tcp::acceptor& acceptor, const DoorkeeperOptions& options) {
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

Doorkeeper::Doorkeeper(asio::io_context& io, const DoorkeeperOptions& options, Events events)
    : options_(options),
      events_(std::move(events)),
      acceptor_(io),
      pause_(io),
      log_limit_(kLines, kLinesSpan) {
  listen(acceptor_, options_);
  listening_ = acceptor_.local_endpoint();
}

void Doorkeeper::close() {
  closed_ = true;
  error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
  for (const Stranger& stranger : strangers_) stranger.channel->close();
}

void Doorkeeper::accept() {
  acceptor_.async_accept([self = shared_from_this()](const error_code& error, tcp::socket socket) {
    if (self->closed_) return;
    if (!error) {
      self->greet(std::move(socket));
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

void Doorkeeper::greet(tcp::socket socket) {
  if (strangers_.size() >= options_.strangers)
    turn_away(strangers_.begin(), "was closed without a hello, to make room for newer connections");
  std::string peer = name_of(socket);
  auto channel = std::make_shared<FrameChannel>(
      std::move(socket), FrameChannelLimits{kStrangerFrameLimit, options_.queue_limit});
  strangers_.push_back({channel, std::move(peer), Pulse::Clock::now()});
  // Callbacks end with the place: whoever removes a stranger has closed its channel or handed it over.
  const Place place = std::prev(strangers_.end());
  channel->start({[this, place](wire::Frame frame) { spoke(place, std::move(frame)); },
                  [this, place](const std::string& why) { turn_away(place, "has not joined: " + why); }});
}

void Doorkeeper::spoke(Place stranger, wire::Frame frame) {
  if (stranger->refused) return;
  if (!frame.has_hello()) return turn_away(stranger, cat("said ", frame_name(frame), " before hello"));
  if (const auto reason = events_.refusal(frame.hello())) return refuse(*stranger, *reason);
  Guest guest{stranger->channel, stranger->peer, std::move(*frame.mutable_hello())};
  strangers_.erase(stranger);
  events_.admitted(std::move(guest));
}

void Doorkeeper::refuse(Stranger& stranger, const std::string& reason) {
  log(cat("refused ", stranger.peer, ": ", reason));
  wire::Frame answer;
  answer.mutable_refusal()->set_reason(reason);
  stranger.refused = true;
  stranger.channel->send(encode_frame(answer));
  stranger.channel->finish();  // it closes once it has read that, or is closed when its time is over
}

void Doorkeeper::turn_away(Place stranger, const std::string& why) {
  if (!stranger->refused) log(cat(stranger->peer, " ", why));
  stranger->channel->close();
  strangers_.erase(stranger);
}

void Doorkeeper::look_around(Time now) {
  if (closed_) return;
  while (!strangers_.empty() && now - strangers_.front().since > nanoseconds_of(options_.hello_seconds))
    turn_away(strangers_.begin(), cat("has not said hello within ", options_.hello_seconds, " s"));
  if (const int64_t lines = log_limit_.take_held_back(now))
    events_.log(cat(lines, " more connections were refused, or closed before they had joined"));
}

void Doorkeeper::log(const std::string& line) {
  if (log_limit_.admits(Pulse::Clock::now())) events_.log(line);
}

}  // namespace lapidary
