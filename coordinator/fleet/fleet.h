#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/fleet/control_server.h"
#include "coordinator/fleet/launcher.h"
#include "coordinator/fleet/worker_check.h"
#include "coordinator/schedule/dispatcher.h"
#include "coordinator/schedule/encode_window.h"

namespace boost::asio {
class io_context;
}

namespace lapidary {

struct FleetOptions {
  ControlServerOptions server;
  DispatchOptions dispatch;
  Mode mode = Mode::throughput;
  int64_t layer_group = 0;  // latency mode; 0: an eighth of the layers
  int64_t steps_ahead = 0;  // steps in flight; 0: 2 * pp
  wire::Capacity capacity;  // that the job's settings give a replica; max_num_seqs 0: not known
  int64_t vocab_size = 0;   // token ids of the model; 0: not known
  bool rejoin = false;      // without a launcher: a replica that died is waited for, not the end of the job
  bool leave_share = true;  // replicas that are to come find their share of the work left; else all is begun
  /// Seconds in which a step, or a picture, has to come back, and in which the first of a replica's ranks to
  /// join (without launcher and `rejoin`: of the job's ranks) is followed by all others. A replica that a
  /// launcher starts has a minute more.
  double step_deadline_seconds = 300;
};

/// Called on the io_context's thread.
struct FleetEvents {
  std::function<void(const std::vector<RequestOutput>&)> requests;
  /// There may be room for more requests.
  std::function<void()> room;
  /// Bytes of weights, of all ranks together, as far as they have said.
  std::function<void(int64_t loaded, int64_t total)> loading;
  /// A replica can work from now on; what its ranks hold.
  std::function<void(int replica, const std::vector<wire::Ready>&)> ready;
  /// A replica that could work is gone; may be empty.
  std::function<void(int replica)> lost;
  std::function<void(int replica, int rank, const wire::Hello&)> joined;
  std::function<void(int replica, int rank, const wire::Heartbeat&)> beat;
  std::function<void(const std::string& line)> log;
  /// Nothing more can come: a sentence that says why, and whether the workers that are left can still be told
  /// to end.
  std::function<void(const std::string& why, bool answering)> failed;
};

/// The replicas of a job, from the coordinator's side: gives their ranks what the dispatcher decides, and
/// watches that they live. One that dies is gone as a whole: its requests go to the others; it is started
/// again where a launcher started it, else the job has failed. All calls on the io_context's one thread.
class Fleet {
 public:
  Fleet(boost::asio::io_context& io, const FleetOptions& options, FleetEvents events);
  ~Fleet();

  /// "host:port" of every address that workers may dial.
  std::vector<std::string> endpoints() const { return server_.endpoints(); }
  /// Starts the replicas, and starts anew what dies.
  void launch(LauncherOptions options);

  /// Throws a sentence for a request that could never run.
  void submit(Request request) { dispatcher_.submit(std::move(request)); }
  size_t room() const { return dispatcher_.room(); }
  /// Forgets a request, wherever it is; no event follows. Then `pump`.
  void cancel(uint64_t request) { dispatcher_.cancel(request); }
  const Dispatcher& dispatcher() const { return dispatcher_; }
  /// Sends whatever can be sent; after requests were submitted.
  void pump();

  /// Tells all workers to end; `done` once they have.
  void stop(std::function<void()> done);
  /// Waits for no worker: those that a launcher started are killed, others find their coordinator gone.
  void abandon(std::function<void()> done);

 private:
  using Clock = std::chrono::steady_clock;
  /// Things that were sent and have to come back, one by one.
  struct Watch {
    size_t out = 0;
    Clock::time_point since;  // the newest sign of life, or when the first was sent
    void sent(size_t count, Clock::time_point now);
    void back(Clock::time_point now);
  };
  struct Replica {
    std::vector<std::optional<wire::Ready>> ranks;
    std::vector<wire::Loading> loading;
    size_t joined = 0;
    std::optional<Clock::time_point> due;  // when all its ranks must have come; none: nobody is on the way
    bool ready = false;
    Watch steps, encodes;
    std::vector<EncodeWindow> windows;  // by rank; empty until it is ready
  };

  ControlServerEvents server_events();
  LauncherEvents launcher_events();
  void receive(int replica, int rank, wire::Frame frame);
  void obey(int replica, int rank, wire::Frame frame);
  void take_ready(int replica, int rank, const wire::Ready& ready);
  void take_loading(int replica, int rank, const wire::Loading& loading);
  void take_results(int replica, size_t rank, const wire::Frame& frame);
  SchedulerConfig config_of(const Replica& replica) const;
  void send(Actions actions);
  void send_encodes(int replica, size_t rank);
  void died(int replica, const std::string& why, bool answering = false);
  void lied(int replica, int rank, const std::string& what);
  void fail(const std::string& why, bool answering = false);
  void watch();
  std::string overdue(const Replica& replica, Clock::time_point now) const;
  /// One mpirun with everything: each rank comes once, and its death ends the job.
  bool comes_once() const { return !launcher_ && !options_.rejoin; }

  boost::asio::io_context& io_;
  const FleetOptions options_;
  const WorkerExpectations expected_;
  const FleetEvents events_;
  ControlServer server_;
  Dispatcher dispatcher_;
  std::unique_ptr<Launcher> launcher_;
  std::vector<Replica> replicas_;
  bool ever_ready_ = false;
  bool ended_ = false;
  struct Timer;
  std::unique_ptr<Timer> timer_;
};

}  // namespace lapidary
