#include "coordinator/serve/engine/fleet_engine.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <thread>
#include <utility>

#include "configs/error.h"

namespace lapidary {

namespace asio = boost::asio;

/// The fleet and its thread. Methods run on that thread, but for those that say otherwise.
class FleetEngine::Looking {
 public:
  Looking(FleetEngine& engine, const FleetOptions& options)
      : engine_(engine), fleet_(io_, options, fleet_events()) {
    replicas_.resize(static_cast<size_t>(options.server.mesh.replicas));
    for (size_t r = 0; r < replicas_.size(); ++r) {
      replicas_[r].replica = static_cast<int>(r);
      replicas_[r].beats.resize(static_cast<size_t>(options.server.mesh.replica_ranks()));
    }
    endpoints_ = fleet_.endpoints();
    thread_ = std::thread([this] { io_.run(); });
  }

  /// Any thread.
  ~Looking() {
    guard_.reset();
    io_.stop();
    thread_.join();
  }
  const std::vector<std::string>& endpoints() const { return endpoints_; }

  /// Any thread: `work` runs on the fleet's.
  template <class Work>
  void post(Work work) {
    asio::post(io_, std::move(work));
  }

  void launch(LauncherOptions launcher) { fleet_.launch(std::move(launcher)); }

  void submit(Request request) {
    const uint64_t id = request.id;
    try {
      fleet_.submit(std::move(request));
      fleet_.pump();
    } catch (const Error& refusal) {
      RequestOutput output;
      output.request = id;
      output.finish = FinishReason::error;
      output.error = refusal.what();
      hand_over({output});
    }
  }

  void cancel(uint64_t request) {
    fleet_.cancel(request);
    fleet_.pump();
  }

  void stop(std::function<void()> done) {
    stopping_ = true;
    fleet_.stop([this, done = std::move(done)] { at_server(done); });
  }

  EngineStatus status() const {
    EngineStatus status;
    status.queued = fleet_.dispatcher().queued();
    status.loaded_bytes = loaded_;
    status.bytes_to_load = to_load_;
    status.replicas = replicas_;
    for (ReplicaStatus& replica : status.replicas) {
      const Scheduler* scheduler = fleet_.dispatcher().scheduler(replica.replica);
      replica.ready = scheduler != nullptr;
      if (scheduler == nullptr) continue;
      replica.counts = scheduler->counts();
      replica.capacity = scheduler->config().capacity;
    }
    return status;
  }

 private:
  /// On the server's thread, if there still is an engine.
  template <class Work>
  void at_server(Work work) {
    asio::post(engine_.server_, [alive = engine_.alive_, work = std::move(work)]() mutable {
      if (*alive) work();
    });
  }

  void hand_over(std::vector<RequestOutput> outputs) {
    if (outputs.empty()) return;
    at_server([&engine = engine_, outputs = std::move(outputs)] { engine.take(outputs); });
  }

  FleetEvents fleet_events() {
    FleetEvents events;
    events.requests = [this](const std::vector<RequestOutput>& outputs) { hand_over(outputs); };
    events.room = [] {};
    events.loading = [this](int64_t loaded, int64_t total) {
      loaded_ = loaded;
      to_load_ = total;
    };
    events.ready = [this](int replica, const std::vector<wire::Ready>& ranks) {
      ReplicaStatus& ready = replicas_[static_cast<size_t>(replica)];
      ready.ranks = ranks;
      const auto sequences = static_cast<size_t>(ranks.front().capacity().max_num_seqs());
      at_server([&engine = engine_, replica, sequences] {
        engine.sequences_ += sequences;
        engine.events_.replica(replica, true);
      });
    };
    events.lost = [this](int replica) {
      ReplicaStatus& lost = replicas_[static_cast<size_t>(replica)];
      const auto sequences = static_cast<size_t>(lost.ranks.front().capacity().max_num_seqs());
      ++lost.restarts;
      lost.ranks.clear();
      at_server([&engine = engine_, replica, sequences] {
        engine.sequences_ -= sequences;
        engine.events_.replica(replica, false);
      });
    };
    events.beat = [this](int replica, int rank, const wire::Heartbeat& beat) {
      replicas_[static_cast<size_t>(replica)].beats[static_cast<size_t>(rank)] = beat;
      at_server([&engine = engine_, replica, rank, beat] { engine.events_.beat(replica, rank, beat); });
    };
    events.log = [this](const std::string& line) {
      at_server([&engine = engine_, line] { engine.events_.log(line); });
    };
    events.failed = [this](const std::string& why, bool) {
      if (stopping_) return;
      at_server([&engine = engine_, why] { engine.events_.failed(why); });
    };
    return events;
  }

  FleetEngine& engine_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard_{io_.get_executor()};
  std::vector<ReplicaStatus> replicas_;
  int64_t loaded_ = 0, to_load_ = 0;
  bool stopping_ = false;
  Fleet fleet_;
  std::vector<std::string> endpoints_;
  std::thread thread_;
};

FleetEngine::FleetEngine(asio::io_context& server, const FleetOptions& options, EngineEvents events)
    : server_(server), events_(std::move(events)), looking_(std::make_unique<Looking>(*this, options)) {}

FleetEngine::~FleetEngine() {
  *alive_ = false;
  looking_.reset();
}

std::vector<std::string> FleetEngine::endpoints() const { return looking_->endpoints(); }

void FleetEngine::launch(LauncherOptions launcher) {
  looking_->post([&looking = *looking_, launcher = std::move(launcher)]() mutable {
    looking.launch(std::move(launcher));
  });
}

uint64_t FleetEngine::submit(Request request, Outputs outputs) {
  request.id = next_++;
  const uint64_t id = request.id;
  running_.emplace(id, std::make_shared<const Outputs>(std::move(outputs)));
  looking_->post(
      [&looking = *looking_, request = std::move(request)]() mutable { looking.submit(std::move(request)); });
  return id;
}

void FleetEngine::cancel(uint64_t request) {
  if (running_.erase(request) == 0) return;
  looking_->post([&looking = *looking_, request] { looking.cancel(request); });
}

void FleetEngine::status(std::function<void(EngineStatus)> then) {
  looking_->post([&looking = *looking_, this, then = std::move(then), alive = alive_]() mutable {
    asio::post(server_, [status = looking.status(), then = std::move(then), alive]() mutable {
      if (*alive) then(std::move(status));
    });
  });
}

void FleetEngine::stop(std::function<void()> done) {
  looking_->post([&looking = *looking_, done = std::move(done)]() mutable { looking.stop(std::move(done)); });
}

void FleetEngine::roll() {}

/// A request may end, or another begin, while it is told of a token.
void FleetEngine::take(const std::vector<RequestOutput>& outputs) {
  for (const RequestOutput& output : outputs) {
    const auto found = running_.find(output.request);
    if (found == running_.end()) continue;  // it was cancelled
    const auto tell = found->second;
    if (output.finish != FinishReason::no) running_.erase(found);
    (*tell)(output);
  }
}

}  // namespace lapidary
