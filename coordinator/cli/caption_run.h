#pragma once

#include <boost/asio/io_context.hpp>
#include <string>
#include <vector>

#include "coordinator/cli/caption_job.h"
#include "coordinator/cli/replicas.h"
#include "coordinator/cli/worker.h"
#include "coordinator/fleet/stop_signal.h"
#include "coordinator/telemetry/timeline.h"

namespace lapidary {

/// The coordinator's side of `lapidary caption`: the job, the fleet, and what the user sees of them.
class CaptionCoordinator {
 public:
  /// Opens inputs and output, and listens for workers; `local`: all of them are on this host.
  CaptionCoordinator(const CaptionOptions& options, const Setup& setup, const Mesh& mesh,
                     const std::string& token, bool local, const StopSignal& stop);

  Invitation invitation();
  /// How a user starts the workers of a replica: with all of this job's settings, which they have to share.
  std::string worker_by_hand();
  /// Starts a mpirun for each replica, and starts anew what dies.
  void launch();
  /// Until all is captioned; gives the exit code. Throws what ended the job.
  int run();

 private:
  FleetOptions fleet_options(const ModelConfig& config, bool local) const;
  CaptionRunParts parts();
  FleetEvents fleet_events();
  void show_ready(int replica, const std::vector<wire::Ready>& ranks);

  const CaptionOptions& options_;
  const Mesh mesh_;
  const std::string token_;
  const StopSignal& stop_;
  Progress progress_;
  Timeline timeline_;
  Job job_;
  const ReplicaStarter starter_;
  boost::asio::io_context io_{1};
  CaptionRun run_;
  bool shown_ready_ = false;
};

}  // namespace lapidary
