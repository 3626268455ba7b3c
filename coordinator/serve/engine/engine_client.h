#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "configs/wire/wire.pb.h"
#include "coordinator/schedule/scheduler.h"

namespace lapidary {

/// What a replica is doing, for whoever looks at the server.
struct ReplicaStatus {
  int replica = 0;
  bool ready = false;
  int64_t restarts = 0;                // times that it was lost
  std::vector<wire::Ready> ranks;      // what they hold; empty until it is ready
  std::vector<wire::Heartbeat> beats;  // the newest of each rank
  wire::Capacity capacity;             // while it is ready
  SchedulerCounts counts;              // the same
};

struct EngineStatus {
  std::vector<ReplicaStatus> replicas;
  size_t queued = 0;                            // requests that no replica has taken
  int64_t loaded_bytes = 0, bytes_to_load = 0;  // of weights, of all ranks together
};

/// The engine as a server sees it. All calls and callbacks are on the server's one thread.
class EngineClient {
 public:
  using Outputs = std::function<void(const RequestOutput&)>;
  virtual ~EngineClient() = default;

  /// Gives the request an id and begins it. Its outputs follow, the last one with a finish; a request that
  /// can never run ends with FinishReason::error. Tokens after `restarted` begin anew.
  virtual uint64_t submit(Request request, Outputs outputs) = 0;
  /// No output follows. Unknown and ended ids are passed over.
  virtual void cancel(uint64_t request) = 0;

  /// Whether a replica can work.
  virtual bool ready() const = 0;
  /// Sequences that run at once, of all replicas that are ready.
  virtual size_t sequences() const = 0;
  /// Requests that have not ended.
  virtual size_t unfinished() const = 0;
  virtual void status(std::function<void(EngineStatus)> then) = 0;
  /// Ends all workers; `done` when they have ended. Nothing is submitted any more.
  virtual void stop(std::function<void()> done) = 0;
  /// Ends and starts anew one replica after the other, each once the one before is ready again.
  virtual void roll() {}
};

/// What an engine has to say by itself; on the server's thread.
struct EngineEvents {
  std::function<void(const std::string& line)> log = [](const std::string&) {};
  /// A replica became ready, or was lost.
  std::function<void(int replica, bool ready)> replica = [](int, bool) {};
  std::function<void(int replica, int rank, const wire::Heartbeat&)> beat = [](int, int,
                                                                               const wire::Heartbeat&) {};
  /// Nothing more can come; a sentence that says why.
  std::function<void(const std::string& why)> failed = [](const std::string&) {};
};

}  // namespace lapidary
