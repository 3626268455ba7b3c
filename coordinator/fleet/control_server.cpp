#include "coordinator/fleet/control_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "configs/error.h"
#include "configs/wire/frame_channel.h"
#include "configs/wire/heartbeat_monitor.h"
#include "coordinator/fleet/handshake_listener.h"
#include "coordinator/fleet/hello_check.h"
#include "coordinator/fleet/host_addresses.h"
#include "coordinator/fleet/worker_check.h"

namespace lapidary {
namespace {

namespace asio = boost::asio;

/// Only what a worker says is taken from one.
bool may_send(const wire::Frame& frame) {
  return frame.has_ready() || frame.has_loading() || frame.has_step_done() || frame.has_encoded() ||
         frame.has_heartbeat() || frame.has_fault();
}

EncodedFrame stop_frame() {
  wire::Frame frame;
  frame.mutable_stop();
  return encode_frame(frame);
}

wire::Frame welcome(const ControlServerOptions& options) {
  wire::Frame frame;
  frame.mutable_welcome()->set_heartbeat_seconds(options.heartbeat_seconds);
  frame.mutable_welcome()->set_dead_after_seconds(options.dead_after_seconds);
  frame.mutable_welcome()->set_spans(options.spans);
  frame.mutable_welcome()->set_step_deadline_seconds(options.step_deadline_seconds);
  return frame;
}

}  // namespace

class ControlServer::Impl : public std::enable_shared_from_this<ControlServer::Impl> {
 public:
  Impl(asio::io_context& io, const ControlServerOptions& options, ControlServerEvents events);

  void begin();
  void end();
  void stop(bool all_come, std::function<void()> done);
  void drop_replica(int replica);
  void send(int replica, int rank, const EncodedFrame& frame);
  bool has_joined(int replica, int rank) const { return seats_.at(index(replica, rank)).is_taken(); }
  asio::ip::tcp::endpoint listening() const { return listener_->listening(); }
  int replica_ranks() const { return options_.mesh.replica_ranks(); }

 private:
  /// A rank's. One that was lost keeps its closed channel until its replica is dropped: nobody else may sit
  /// down.
  struct Seat {
    std::shared_ptr<FrameChannel> channel;
    HeartbeatMonitor heartbeat;
    std::string peer;
    std::string computes_with;

    bool is_taken() const { return channel && channel->is_open(); }
  };

  size_t index(int replica, int rank) const { return static_cast<size_t>(replica * replica_ranks() + rank); }
  std::optional<std::string> refusal(const wire::Hello& hello) const;
  void admit(const HandshakeListener::WorkerConnection& connection);
  void received(int replica, int rank, wire::Frame frame);
  void lose(int replica, int rank, const std::string& why);
  void tick();
  void look_at(int replica, int rank, HeartbeatMonitor::Time now);
  void done_when_empty();
  void done();
  void log(const std::string& line) {
    if (events_.log) events_.log(line);
  }

  asio::io_context& io_;
  const ControlServerOptions options_;
  const ControlServerEvents events_;
  asio::steady_timer ticks_;
  std::shared_ptr<HandshakeListener> listener_;
  std::vector<Seat> seats_;
  bool ended_ = false;
  bool stopping_ = false;
  bool all_come_ = false;  // before the stop is done
  HeartbeatMonitor::Time stop_by_;
  std::function<void()> done_;
};

ControlServer::Impl::Impl(asio::io_context& io, const ControlServerOptions& options,
                          ControlServerEvents events)
    : io_(io), options_(options), events_(std::move(events)), ticks_(io) {
  if (options.token.empty()) throw std::logic_error("a control server without a token");
  if (options.dead_after_seconds < 3 * options.heartbeat_seconds)
    fail("a worker would be dead after ", options.dead_after_seconds,
         " s of silence, at least three heartbeats of ", options.heartbeat_seconds, " s are needed");
  const HeartbeatMonitor nobody(nanoseconds_of(options.dead_after_seconds), HeartbeatMonitor::Clock::now());
  seats_.assign(static_cast<size_t>(options.mesh.world()), {nullptr, nobody, "", ""});
  listener_ = std::make_shared<HandshakeListener>(
      io,
      HandshakeListenerOptions{options.local, options.address, options.port, options.hello_seconds,
                               options.max_pending, options.queue_limit},
      HandshakeListener::Events{
          [this](const wire::Hello& hello) { return refusal(hello); },
          [this](const HandshakeListener::WorkerConnection& connection) { admit(connection); },
          [this](const std::string& line) { log(line); }});
}

void ControlServer::Impl::begin() {
  listener_->open();
  tick();
}

void ControlServer::Impl::end() {
  ended_ = true;
  listener_->close();
  ticks_.cancel();
  for (const Seat& seat : seats_)
    if (seat.channel) seat.channel->close();
}

std::optional<std::string> ControlServer::Impl::refusal(const wire::Hello& hello) const {
  if (auto reason = refusal_of(hello, {options_.version, options_.token, options_.settings, options_.mesh}))
    return reason;
  for (int rank = 0; rank < replica_ranks(); ++rank) {
    const Seat& other = seats_[index(hello.replica(), rank)];
    if (other.is_taken() && other.computes_with != shown_text(hello.computes_with()))
      return cat("rank ", hello.rank(), " computes with ", shown_text(hello.computes_with()), ", rank ", rank,
                 " of its replica with ", other.computes_with,
                 ": give all of them the same --isa and --device");
  }
  const Seat& seat = seats_[index(hello.replica(), hello.rank())];
  if (!seat.channel) return std::nullopt;
  return cat("replica ", hello.replica(), " rank ", hello.rank(),
             seat.is_taken() ? " has joined already, from " + seat.peer
                             : " was lost, and its replica has not ended yet");
}

void ControlServer::Impl::admit(const HandshakeListener::WorkerConnection& connection) {
  const int replica = connection.hello.replica(), rank = connection.hello.rank();
  const HeartbeatMonitor heartbeat(nanoseconds_of(options_.dead_after_seconds),
                                   HeartbeatMonitor::Clock::now());
  seats_[index(replica, rank)] = {connection.channel, heartbeat, connection.peer,
                                  shown_text(connection.hello.computes_with())};
  // The server closes its channels before it goes: none calls it afterwards.
  connection.channel->hand_over(
      {[this, replica, rank](wire::Frame frame) { received(replica, rank, std::move(frame)); },
       [this, replica, rank](const std::string& why) { lose(replica, rank, why); }});
  connection.channel->set_frame_limit(options_.frame_limit);
  connection.channel->send(encode_frame(welcome(options_)));
  if (stopping_) return connection.channel->send(stop_frame());
  for (int other = 0; other < options_.mesh.replicas; ++other)
    if (const Seat& first = seats_[index(other, 0)];
        rank == 0 && first.is_taken() && first.computes_with != shown_text(connection.hello.computes_with()))
      log(cat("replica ", replica, " computes with ", shown_text(connection.hello.computes_with()),
              ", replica ", other, " with ", first.computes_with,
              ": their records may differ in the last bits; the same --isa makes them equal"));
  if (events_.joined) events_.joined(replica, rank, connection.hello);
}

void ControlServer::Impl::received(int replica, int rank, wire::Frame frame) {
  if (!may_send(frame))
    return lose(replica, rank, cat("sent ", frame_name(frame), ", which no worker sends"));
  HeartbeatMonitor& heartbeat = seats_[index(replica, rank)].heartbeat;
  heartbeat.heard(HeartbeatMonitor::Clock::now());
  if (frame.has_heartbeat()) heartbeat.heard(frame.heartbeat(), HeartbeatMonitor::Clock::now());
  if (events_.received) events_.received(replica, rank, std::move(frame));
}

void ControlServer::Impl::lose(int replica, int rank, const std::string& why) {
  seats_[index(replica, rank)].channel->close();
  if (stopping_) return done_when_empty();
  if (events_.lost) events_.lost(replica, rank, why);
}

void ControlServer::Impl::tick() {
  const HeartbeatMonitor::Time now = HeartbeatMonitor::Clock::now();
  listener_->close_overdue(now);
  for (int replica = 0; replica < options_.mesh.replicas; ++replica)
    for (int rank = 0; rank < replica_ranks(); ++rank)
      if (!ended_) look_at(replica, rank, now);
  if (ended_) return;  // by a callback
  if (stopping_ && now > stop_by_) done();
  ticks_.expires_after(nanoseconds_of(options_.heartbeat_seconds));
  ticks_.async_wait([self = shared_from_this()](const boost::system::error_code&) {
    if (!self->ended_) self->tick();
  });
}

void ControlServer::Impl::look_at(int replica, int rank, HeartbeatMonitor::Time now) {
  Seat& seat = seats_[index(replica, rank)];
  if (!seat.is_taken()) return;
  if (seat.heartbeat.is_dead(now) || (stopping_ && now > stop_by_))
    return lose(replica, rank, cat("was silent for ", options_.dead_after_seconds, " s"));
  wire::Frame frame;
  *frame.mutable_heartbeat() = seat.heartbeat.beat(now);
  seat.channel->send(encode_frame(frame));
}

void ControlServer::Impl::send(int replica, int rank, const EncodedFrame& frame) {
  if (has_joined(replica, rank)) seats_[index(replica, rank)].channel->send(frame);
}

void ControlServer::Impl::drop_replica(int replica) {
  for (int rank = 0; rank < replica_ranks(); ++rank)
    if (const auto channel = std::exchange(seats_.at(index(replica, rank)).channel, nullptr))
      channel->close();
  if (stopping_) done_when_empty();
}

void ControlServer::Impl::stop(bool all_come, std::function<void()> done) {
  stopping_ = true;
  all_come_ = all_come;
  stop_by_ = HeartbeatMonitor::Clock::now() + nanoseconds_of(options_.dead_after_seconds);
  done_ = std::move(done);
  const EncodedFrame encoded = stop_frame();
  for (const Seat& seat : seats_)
    if (seat.channel) seat.channel->send(encoded);  // the worker closes: so what it says last is not lost
  done_when_empty();
}

void ControlServer::Impl::done_when_empty() {
  for (const Seat& seat : seats_)
    if (seat.is_taken() || (all_come_ && !seat.channel)) return;
  done();
}

void ControlServer::Impl::done() {
  if (done_) asio::post(io_, std::exchange(done_, nullptr));
}

ControlServer::ControlServer(asio::io_context& io, const ControlServerOptions& options,
                             ControlServerEvents events)
    : impl_(std::make_shared<Impl>(io, options, std::move(events))) {
  impl_->begin();
}

ControlServer::~ControlServer() { impl_->end(); }

uint16_t ControlServer::port() const { return impl_->listening().port(); }

std::vector<std::string> ControlServer::endpoints() const {
  const auto address = impl_->listening().address();
  if (!address.is_unspecified()) return {endpoint_text(address.to_string(), port())};
  std::vector<std::string> texts;
  for (const std::string& text : host_addresses())
    if (address.is_v6() || text.find(':') == text.npos) texts.push_back(endpoint_text(text, port()));
  return texts;
}

bool ControlServer::has_joined(int replica, int rank) const { return impl_->has_joined(replica, rank); }

void ControlServer::send(int replica, int rank, const EncodedFrame& frame) {
  impl_->send(replica, rank, frame);
}

void ControlServer::send(int replica, const EncodedFrame& frame) {
  for (int rank = 0; rank < impl_->replica_ranks(); ++rank) impl_->send(replica, rank, frame);
}

void ControlServer::drop_replica(int replica) { impl_->drop_replica(replica); }

void ControlServer::stop(bool all_come, std::function<void()> done) {
  impl_->stop(all_come, std::move(done));
}

}  // namespace lapidary
