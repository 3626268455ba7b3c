#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "configs/mesh.h"
#include "configs/wire/framing.h"
#include "coordinator/fleet/hello_check.h"

namespace boost::asio {
class io_context;
}

namespace lapidary {

struct ControlServerOptions {
  std::string version;  // of the program; a worker's must be the same
  Settings settings;    // the same
  std::string token;    // shared secret; may not be empty
  Mesh mesh;
  bool local = true;    // all workers are on this host: loopback only; else all interfaces, IPv6 and IPv4
  std::string address;  // an IP address to listen on instead of what `local` says
  uint16_t port = 0;    // 0: any that is free
  double heartbeat_seconds = 1;
  double dead_after_seconds = 10;      // of silence
  double hello_seconds = 5;            // until a connection has to have said hello
  bool spans = false;                  // ask workers for what each lane did when
  double step_deadline_seconds = 300;  // seconds in which a rank's device does its part of a step
  size_t max_pending = 256;  // connections at a time that have not joined; of more the oldest are closed
  size_t frame_limit = kFrameLimit;
  size_t queue_limit = size_t{256} << 20;  // bytes; a worker that lets more wait is lost
};

/// Called on the io_context's thread, never from within a call of the server. None may destroy it.
struct ControlServerEvents {
  std::function<void(int replica, int rank, const wire::Hello&)> joined;
  /// Ready, Loading, StepDone, Encoded, Fault and Heartbeat; other frames are a reason to be lost.
  std::function<void(int replica, int rank, wire::Frame)> received;
  /// At most once a join. The seat stays taken until its replica is dropped.
  std::function<void(int replica, int rank, const std::string& why)> lost;
  /// Refused connections; a flood of them is summed up, so that it fills no log.
  std::function<void(const std::string& line)> log;
};

/// The coordinator's end of the control plane: knows who joined and who is alive, not what they say.
/// All calls on the io_context's one thread, or while it does not run.
class ControlServer {
 public:
  /// Listens from now on. Throws Error where the address cannot be listened on.
  ControlServer(boost::asio::io_context& io, const ControlServerOptions& options, ControlServerEvents events);
  /// Closes every connection, without callbacks.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  uint16_t port() const;
  /// "host:port" of every address that workers may reach this host at, the likeliest first.
  std::vector<std::string> endpoints() const;
  bool has_joined(int replica, int rank) const;

  /// To a rank that is not there: nothing happens (its loss is or will be reported).
  void send(int replica, int rank, const EncodedFrame& frame);
  /// To every rank of the replica that is there.
  void send(int replica, const EncodedFrame& frame);
  /// Closes all connections of the replica, without callbacks; its ranks may join anew.
  void drop_replica(int replica);
  /// Sends Stop to everyone, after what was sent before, and to who joins from now on right after the
  /// welcome; reports no joins and no losses any more. `done` once all workers have closed their ends, and
  /// with `all_come` every rank of the mesh has been here, or after dead_after_seconds: a job may be over
  /// before its last rank has found the way.
  void stop(bool all_come, std::function<void()> done);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // also held by what the io_context has under way
};

}  // namespace lapidary
