#include "worker/control/control_link.h"

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>

#include "configs/error.h"
#include "configs/wire/heartbeat_monitor.h"
#include "worker/control/connect.h"

namespace lapidary {

namespace asio = boost::asio;

namespace {

constexpr std::chrono::seconds kFarewell{1};

}  // namespace

class ControlLink::Impl {
 public:
  explicit Impl(const ControlLinkOptions& options)
      : connection_(connect_to_coordinator(io_,
                                           {options.endpoints,
                                            options.connect_seconds,
                                            options.answer_seconds,
                                            {options.frame_limit, options.queue_limit}},
                                           options.hello)),
        heartbeat_(nanoseconds_of(connection_.welcome.dead_after_seconds()), HeartbeatMonitor::Clock::now()),
        ticks_(io_) {}
  ~Impl();

  const wire::Welcome& welcome() const { return connection_.welcome; }
  void start(ControlLinkEvents events);
  void send(EncodedFrame frame) {
    asio::post(io_,
               [this, frame = std::move(frame)]() mutable { connection_.channel->send(std::move(frame)); });
  }
  void expect_end() { end_expected_ = true; }

 private:
  void received(wire::Frame frame);
  void lose(const std::string& why);
  void tick();
  void finish();

  // Without a hint of one thread: with it, what this thread posts is overtaken by what others post later, and
  // a frame sent from a callback could come after the farewell.
  asio::io_context io_;
  Connection connection_;
  HeartbeatMonitor heartbeat_;
  asio::steady_timer ticks_;
  ControlLinkEvents events_;
  std::atomic<bool> end_expected_ = false;
  bool leaving_ = false;  // this side has said all
  std::thread thread_;
};

void ControlLink::Impl::start(ControlLinkEvents events) {
  if (thread_.joinable()) throw std::logic_error("a control link started twice");
  events_ = std::move(events);
  connection_.channel->hand_over({[this](wire::Frame frame) { received(std::move(frame)); },
                                  [this](const std::string& why) { lose(why); }});
  asio::post(io_, [this] {
    for (wire::Frame& frame : std::exchange(connection_.early, {})) received(std::move(frame));
    tick();
  });
  io_.restart();
  thread_ = std::thread([this] {
    const auto guard = asio::make_work_guard(io_);
    io_.run();
  });
}

ControlLink::Impl::~Impl() {
  if (!thread_.joinable()) {
    connection_.channel->close();
    return;
  }
  asio::post(io_, [this] { finish(); });
  thread_.join();
}

/// The coordinator closes when it has read all; then, or when it takes too long, the thread ends.
void ControlLink::Impl::finish() {
  leaving_ = true;
  if (!connection_.channel->is_open()) return io_.stop();
  connection_.channel->finish();
  ticks_.expires_after(kFarewell);
  ticks_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    connection_.channel->close();
    io_.stop();
  });
}

void ControlLink::Impl::received(wire::Frame frame) {
  heartbeat_.heard(HeartbeatMonitor::Clock::now());
  if (frame.has_heartbeat()) return heartbeat_.heard(frame.heartbeat(), HeartbeatMonitor::Clock::now());
  if (frame.has_stop()) end_expected_ = true;
  if (!leaving_ && events_.received) events_.received(std::move(frame));
}

void ControlLink::Impl::lose(const std::string& why) {
  connection_.channel->close();
  if (leaving_) return io_.stop();
  ticks_.cancel();
  if (!end_expected_ && events_.lost) events_.lost(cat("the coordinator ", why));
}

void ControlLink::Impl::tick() {
  if (leaving_ || !connection_.channel->is_open()) return;
  const HeartbeatMonitor::Time now = HeartbeatMonitor::Clock::now();
  if (heartbeat_.is_dead(now)) return lose(cat(kSilent, welcome().dead_after_seconds(), " s"));
  wire::Frame frame;
  *frame.mutable_heartbeat() = heartbeat_.beat(now);
  if (events_.beating) events_.beating(*frame.mutable_heartbeat());
  connection_.channel->send(encode_frame(frame));
  ticks_.expires_after(nanoseconds_of(welcome().heartbeat_seconds()));
  ticks_.async_wait([this](const boost::system::error_code& error) {
    if (!error) tick();
  });
}

ControlLink::ControlLink(ControlLinkOptions options) : impl_(std::make_unique<Impl>(options)) {}

ControlLink::~ControlLink() = default;

const wire::Welcome& ControlLink::welcome() const { return impl_->welcome(); }

void ControlLink::start(ControlLinkEvents events) { impl_->start(std::move(events)); }

void ControlLink::send(const wire::Frame& frame) { impl_->send(encode_frame(frame)); }

void ControlLink::expect_end() { impl_->expect_end(); }

}  // namespace lapidary
