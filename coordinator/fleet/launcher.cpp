#include "coordinator/fleet/launcher.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "configs/error.h"
#include "configs/wire/heartbeat_monitor.h"
#include "coordinator/fleet/child_process.h"

namespace lapidary {

namespace asio = boost::asio;
using boost::system::error_code;

class Launcher::Impl : public std::enable_shared_from_this<Launcher::Impl> {
 public:
  Impl(asio::io_context& io, LauncherOptions options, LauncherEvents events);
  ~Impl() = default;
  void destroy();

  void start();
  void ready(int replica) { at(replica).policy.ready(); }
  void kill(int replica) {
    if (const auto& process = at(replica).process) process->end(options_.grace_seconds);
  }
  void stop(double patience_seconds, std::function<void()> done);

 private:
  struct Replica {
    std::shared_ptr<ChildProcess> process;  // none: waits for its next start, or has been given up
    RestartPolicy policy;
    asio::steady_timer next;
    HeartbeatMonitor::Time started;
    std::string last_line;
    bool given_up = false;
  };

  Replica& at(int replica) { return replicas_.at(static_cast<size_t>(replica)); }
  void start_one(int replica);
  void ended(int replica, const std::string& how);
  void give_up(int replica, const std::string& why);
  void restart_after(int replica, double seconds);
  void done_when_empty();

  asio::io_context& io_;
  const LauncherOptions options_;
  const LauncherEvents events_;
  std::vector<Replica> replicas_;
  asio::steady_timer patience_;
  bool stopping_ = false;
  bool destroyed_ = false;
  std::function<void()> done_;
};

Launcher::Impl::Impl(asio::io_context& io, LauncherOptions options, LauncherEvents events)
    : io_(io), options_(std::move(options)), events_(std::move(events)), patience_(io) {
  for (int i = 0; i < options_.replicas; ++i)
    replicas_.push_back({nullptr, RestartPolicy(options_.restarts), asio::steady_timer(io), {}, "", false});
}

void Launcher::Impl::destroy() {
  destroyed_ = true;
  patience_.cancel();
  for (Replica& replica : replicas_) {
    replica.next.cancel();
    if (const auto process = std::exchange(replica.process, nullptr)) process->destroy();
  }
}

void Launcher::Impl::start() {
  for (int replica = 0; replica < options_.replicas; ++replica)
    asio::post(io_, [self = shared_from_this(), replica] {
      if (!self->destroyed_ && !self->stopping_) self->start_one(replica);
    });
}

void Launcher::Impl::start_one(int replica) {
  Replica& one = at(replica);
  try {
    const Spawned spawned = spawn(options_.command(replica), options_.environment);
    one.process = std::make_shared<ChildProcess>(
        io_, spawned,
        ChildProcess::Events{[this, replica](const std::string& line) {
                               at(replica).last_line = line;
                               if (events_.line) events_.line(cat("replica ", replica, ": ", line));
                             },
                             [this, replica](const std::string& how) { ended(replica, how); }});
  } catch (const Error& error) {
    return give_up(replica, error.what());
  }
  one.started = HeartbeatMonitor::Clock::now();
  one.last_line.clear();
  one.process->begin();
  if (events_.started) events_.started(replica);
}

void Launcher::Impl::ended(int replica, const std::string& how) {
  Replica& one = at(replica);
  one.process = nullptr;
  const std::chrono::duration<double> lived = HeartbeatMonitor::Clock::now() - one.started;
  const auto wait = one.policy.ended(lived.count());
  if (!stopping_ && !wait)
    return give_up(replica, cat("it ended ", options_.restarts.fruitless_starts,
                                " times in a row before it was ready, the last time by ", how,
                                one.last_line.empty() ? "" : "; its last line: " + one.last_line));
  if (!stopping_) restart_after(replica, *wait);
  if (events_.ended) events_.ended(replica, how, stopping_ ? -1 : *wait);
  if (stopping_) done_when_empty();
}

void Launcher::Impl::restart_after(int replica, double seconds) {
  Replica& one = at(replica);
  one.next.expires_after(nanoseconds_of(seconds));
  one.next.async_wait([self = shared_from_this(), replica](const error_code& error) {
    if (!error && !self->destroyed_ && !self->stopping_) self->start_one(replica);
  });
}

void Launcher::Impl::give_up(int replica, const std::string& why) {
  at(replica).given_up = true;
  if (events_.ended) events_.ended(replica, why, -1);
  const bool all =
      std::all_of(replicas_.begin(), replicas_.end(), [](const Replica& r) { return r.given_up; });
  if (all && !destroyed_ && events_.failed) events_.failed(cat("replica ", replica, " was given up: ", why));
}

void Launcher::Impl::stop(double patience_seconds, std::function<void()> done) {
  stopping_ = true;
  done_ = std::move(done);
  for (Replica& replica : replicas_) replica.next.cancel();
  patience_.expires_after(nanoseconds_of(patience_seconds));
  patience_.async_wait([self = shared_from_this()](const error_code& error) {
    if (error || self->destroyed_) return;
    for (int replica = 0; replica < self->options_.replicas; ++replica) self->kill(replica);
  });
  done_when_empty();
}

void Launcher::Impl::done_when_empty() {
  for (const Replica& replica : replicas_)
    if (replica.process) return;
  patience_.cancel();
  if (done_) asio::post(io_, std::exchange(done_, nullptr));
}

Launcher::Launcher(asio::io_context& io, LauncherOptions options, LauncherEvents events)
    : impl_(std::make_shared<Impl>(io, std::move(options), std::move(events))) {}

Launcher::~Launcher() { impl_->destroy(); }

void Launcher::start() { impl_->start(); }

void Launcher::ready(int replica) { impl_->ready(replica); }

void Launcher::kill(int replica) { impl_->kill(replica); }

void Launcher::stop(double patience_seconds, std::function<void()> done) {
  impl_->stop(patience_seconds, std::move(done));
}

}  // namespace lapidary
