#include "coordinator/fleet/fleet.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "configs/error.h"

namespace lapidary {
namespace {

/// A replica that is started has this much more than a step for its ranks to come: hosts are reached first.
constexpr double kStartSeconds = 60;

std::chrono::nanoseconds nanoseconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
}

DispatchOptions dispatch_of(const FleetOptions& options) {
  DispatchOptions dispatch = options.dispatch;
  dispatch.replicas = options.leave_share ? options.server.mesh.replicas : 0;
  return dispatch;
}

}  // namespace

struct Fleet::Timer {
  explicit Timer(boost::asio::io_context& io) : timer(io) {}
  boost::asio::steady_timer timer;
};

void Fleet::Watch::sent(size_t count, Clock::time_point now) {
  if (out == 0) since = now;
  out += count;
}

void Fleet::Watch::back(Clock::time_point now) {
  since = now;
  if (out > 0) --out;
}

Fleet::Fleet(boost::asio::io_context& io, const FleetOptions& options, FleetEvents events)
    : io_(io),
      options_(options),
      expected_{options.server.mesh, options.server.spans, options.capacity},
      events_(std::move(events)),
      server_(io, options.server, server_events()),
      dispatcher_(dispatch_of(options)),
      timer_(std::make_unique<Timer>(io)) {
  const Mesh& mesh = options.server.mesh;
  replicas_.resize(static_cast<size_t>(mesh.replicas));
  for (Replica& replica : replicas_) {
    replica.ranks.resize(static_cast<size_t>(mesh.replica_ranks()));
    replica.loading.resize(replica.ranks.size());
  }
  watch();
}

Fleet::~Fleet() = default;

void Fleet::launch(LauncherOptions options) {
  launcher_ = std::make_unique<Launcher>(io_, std::move(options), launcher_events());
  launcher_->start();
}

ControlServerEvents Fleet::server_events() {
  ControlServerEvents events;
  events.joined = [this](int replica, int rank, const wire::Hello& hello) {
    Replica& joining = replicas_[static_cast<size_t>(replica)];
    if (joining.joined++ == 0) joining.due = Clock::now() + nanoseconds(options_.step_deadline_seconds);
    // The ranks of one mpirun come together.
    for (Replica& other : replicas_)
      if (comes_once() && !other.due) other.due = joining.due;
    if (events_.joined) events_.joined(replica, rank, hello);
  };
  events.received = [this](int replica, int rank, wire::Frame frame) {
    if (!ended_ || frame.has_heartbeat()) receive(replica, rank, std::move(frame));
  };
  events.lost = [this](int replica, int rank, const std::string& why) {
    died(replica, cat("rank ", rank, " was lost: ", why));
  };
  events.log = events_.log;
  return events;
}

LauncherEvents Fleet::launcher_events() {
  LauncherEvents events;
  events.started = [this](int replica) {
    replicas_[static_cast<size_t>(replica)].due =
        Clock::now() + nanoseconds(kStartSeconds + options_.step_deadline_seconds);
  };
  events.ended = [this](int replica, const std::string& why, double seconds) {
    if (ended_) return;
    died(replica, cat("mpirun ended with ", why));
    if (seconds >= 0 && !ended_) events_.log(cat("replica ", replica, " starts again in ", seconds, " s"));
    if (seconds >= 0 || ended_) return;
    events_.log(cat("replica ", replica, " is given up"));
    dispatcher_.give_up(replica);
    pump();
  };
  events.line = events_.log;
  events.failed = [this](const std::string& why) { fail(why); };
  return events;
}

void Fleet::receive(int replica, int rank, wire::Frame frame) {
  try {
    check_said(frame, rank, expected_);
  } catch (const Error& error) {
    return lied(replica, rank, error.what());
  }
  obey(replica, rank, std::move(frame));
}

void Fleet::obey(int replica, int rank, wire::Frame frame) {
  switch (frame.body_case()) {
    case wire::Frame::kReady:
      return take_ready(replica, rank, frame.ready());
    case wire::Frame::kLoading:
      return take_loading(replica, rank, frame.loading());
    case wire::Frame::kStepDone:
    case wire::Frame::kEncoded:
      return take_results(replica, static_cast<size_t>(rank), frame);
    case wire::Frame::kHeartbeat:
      if (events_.beat) events_.beat(replica, rank, frame.heartbeat());
      return;
    case wire::Frame::kFault:
      return died(replica, shown_text(frame.fault().reason()), true);
    default:
      return;
  }
}

void Fleet::take_loading(int replica, int rank, const wire::Loading& loading) {
  replicas_[static_cast<size_t>(replica)].loading[static_cast<size_t>(rank)] = loading;
  int64_t loaded = 0, total = 0;
  for (const Replica& each : replicas_)
    for (const wire::Loading& of_rank : each.loading) {
      loaded += of_rank.loaded();
      total += of_rank.total();
    }
  events_.loading(loaded, total);
}

void Fleet::take_ready(int index, int rank, const wire::Ready& ready) {
  Replica& replica = replicas_[static_cast<size_t>(index)];
  std::optional<wire::Ready>& seat = replica.ranks[static_cast<size_t>(rank)];
  if (seat) return lied(index, rank, "it says a second time that it is ready");
  seat = ready;
  seat->set_description(shown_text(ready.description()));
  if (replica.ready || !std::all_of(replica.ranks.begin(), replica.ranks.end(),
                                    [](const auto& each) { return each.has_value(); }))
    return;
  replica.ready = true;
  ever_ready_ = true;
  if (launcher_) launcher_->ready(index);
  std::vector<wire::Ready> ranks;
  for (const auto& each : replica.ranks) {
    ranks.push_back(*each);
    replica.windows.emplace_back(each->encode_bytes());
  }
  events_.ready(index, ranks);
  dispatcher_.join(index, config_of(replica));
  events_.room();
  pump();
}

SchedulerConfig Fleet::config_of(const Replica& replica) const {
  const Mesh& mesh = options_.server.mesh;
  SchedulerConfig config;
  config.capacity = replica.ranks.front()->capacity();
  for (int rank = 0; rank < mesh.decoder_ranks(); ++rank)
    config.capacity.set_num_kv_pages(std::min(
        config.capacity.num_kv_pages(), replica.ranks[static_cast<size_t>(rank)]->capacity().num_kv_pages()));
  for (int lane = 0; lane < vision_lanes(mesh); ++lane) {
    const int32_t rank = rank_of_lane(mesh, lane);
    const int64_t slots = replica.ranks[static_cast<size_t>(rank)]->capacity().encoder_cache_slots();
    config.capacity.set_encoder_cache_slots(
        lane == 0 ? slots : std::min(config.capacity.encoder_cache_slots(), slots));
    config.vision_lanes.push_back(rank);
  }
  config.vocab_size = options_.vocab_size;
  config.pp = mesh.pp;
  config.max_steps_in_flight = options_.steps_ahead;
  config.mode = options_.mode;
  if (options_.mode == Mode::latency)
    config.layer_group = options_.layer_group > 0 ? options_.layer_group
                                                  : std::max<int64_t>(1, config.capacity.num_layers() / 8);
  return config;
}

void Fleet::take_results(int index, size_t rank, const wire::Frame& frame) {
  Replica& replica = replicas_[static_cast<size_t>(index)];
  if (!replica.ready) return;
  std::vector<RequestOutput> events;
  try {
    if (frame.has_step_done()) {
      replica.steps.back(Clock::now());
      events = dispatcher_.finish(index, frame.step_done());
    } else {
      replica.encodes.back(Clock::now());
      events = dispatcher_.encoded(index, frame.encoded());
      replica.windows[rank].answered(frame.encoded().id());
      send_encodes(index, rank);
    }
  } catch (const Error& e) {
    return died(index, e.what());
  }
  pump();  // first: workers wait for it, records do not
  events_.requests(events);
  events_.room();
  pump();
}

void Fleet::pump() {
  while (auto actions = dispatcher_.poll()) send(std::move(*actions));
}

void Fleet::send(Actions actions) {
  Replica& replica = replicas_[static_cast<size_t>(actions.replica)];
  const auto now = Clock::now();
  for (LaneEncode& encode : actions.encodes)
    replica.windows[static_cast<size_t>(encode.rank)].add(std::move(encode));
  for (size_t rank = 0; rank < replica.windows.size(); ++rank) send_encodes(actions.replica, rank);
  for (wire::Step& step : actions.steps) {
    wire::Frame frame;
    *frame.mutable_step() = std::move(step);
    server_.send(actions.replica, encode_frame(frame));
  }
  replica.steps.sent(actions.steps.size(), now);
  if (!actions.events.empty()) events_.requests(actions.events);
}

/// As many as the rank has room for; the others wait for its answers.
void Fleet::send_encodes(int index, size_t rank) {
  Replica& replica = replicas_[static_cast<size_t>(index)];
  size_t sent = 0;
  for (; auto order = replica.windows[rank].next(); ++sent)
    server_.send(index, static_cast<int>(rank), encode_frame(order->encode, order->image));
  replica.encodes.sent(sent, Clock::now());
}

/// A replica goes as a whole: its ranks can do nothing without each other.
void Fleet::died(int index, const std::string& why, bool answering) {
  if (ended_) return;
  Replica& replica = replicas_[static_cast<size_t>(index)];
  const bool lived = replica.ready;
  if (!comes_once()) server_.drop_replica(index);
  replica.ranks.assign(replica.ranks.size(), std::nullopt);
  replica.loading.assign(replica.loading.size(), {});
  replica.ready = false;
  replica.joined = 0;
  replica.due.reset();
  replica.steps = replica.encodes = {};
  replica.windows.clear();
  // What ends the very first start will end each that follows: a checkpoint that cannot be read, too little
  // memory.
  if (comes_once() || (answering && !ever_ready_)) return fail(why, answering);
  if (launcher_) launcher_->kill(index);
  if (lived) events_.log(cat("replica ", index, " died: ", why));
  if (lived && events_.lost) events_.lost(index);
  const std::vector<RequestOutput> events = dispatcher_.leave(index);
  events_.requests(events);
  events_.room();
  pump();
}

/// Numbers that cannot be are one replica's: the others go on, even before the first has become ready.
void Fleet::lied(int index, int rank, const std::string& what) {
  const std::string why = cat("rank ", rank, " talks nonsense: ", what);
  if (!ended_ && !comes_once() && !replicas_[static_cast<size_t>(index)].ready)
    events_.log(cat("replica ", index, " died: ", why));
  died(index, why, comes_once());
  if (ended_) return;
  dispatcher_.give_up(index);  // what was left for it is others'
  pump();
}

void Fleet::fail(const std::string& why, bool answering) {
  if (ended_) return;
  ended_ = true;
  events_.failed(why, answering);
}

/// Heartbeats find a rank that is gone or stopped; this finds one that lives and does nothing.
void Fleet::watch() {
  const double period = std::clamp(options_.step_deadline_seconds / 10, 0.05, 1.0);
  timer_->timer.expires_after(nanoseconds(period));
  timer_->timer.async_wait([this](const boost::system::error_code& error) {
    if (error || ended_) return;
    for (size_t i = 0; i < replicas_.size() && !ended_; ++i) {
      const std::string what = overdue(replicas_[i], Clock::now());
      if (what.empty()) continue;
      if (!replicas_[i].ready && !comes_once()) events_.log(cat("replica ", i, ": ", what));
      died(static_cast<int>(i), what);
    }
    watch();
  });
}

/// What has not come, though it was due; empty: nothing.
std::string Fleet::overdue(const Replica& replica, Clock::time_point now) const {
  const auto oldest = now - nanoseconds(options_.step_deadline_seconds);
  const std::string in_time = cat(" within ", options_.step_deadline_seconds, " s (--step-deadline)");
  if (replica.joined < replica.ranks.size() && replica.due && *replica.due < now)
    return cat(replica.joined == 0 ? "none" : cat("only ", replica.joined), " of ", replica.ranks.size(),
               replica.ranks.size() == 1 ? " rank" : " ranks", " came", in_time);
  if (replica.steps.out > 0 && replica.steps.since < oldest) return "no step came back" + in_time;
  if (replica.encodes.out > 0 && replica.encodes.since < oldest) return "no picture came back" + in_time;
  return "";
}

void Fleet::stop(std::function<void()> done) {
  ended_ = true;
  timer_->timer.cancel();
  server_.stop(comes_once(), [this, done = std::move(done)] {
    if (!launcher_) return done();
    launcher_->stop(5, done);
  });
}

void Fleet::abandon(std::function<void()> done) {
  ended_ = true;
  timer_->timer.cancel();
  if (!launcher_) return done();
  launcher_->stop(0, std::move(done));
}

}  // namespace lapidary
