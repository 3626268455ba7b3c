#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "coordinator/fleet/fleet.h"
#include "coordinator/serve/engine/engine_client.h"

namespace lapidary {

/// The replicas of a fleet, which a thread of its own looks after: nothing that a server does holds up their
/// next step.
class FleetEngine : public EngineClient {
 public:
  /// `server`: the io_context of the server's thread; it outlives this.
  FleetEngine(boost::asio::io_context& server, const FleetOptions& options, EngineEvents events);
  ~FleetEngine() override;

  /// "host:port" of every address that workers may dial.
  std::vector<std::string> endpoints() const;
  /// Starts the replicas, and starts anew what dies; once. Without it somebody else starts them, and they
  /// join.
  void launch(LauncherOptions launcher);

  uint64_t submit(Request request, Outputs outputs) override;
  void cancel(uint64_t request) override;
  bool ready() const override { return sequences_ > 0; }
  size_t sequences() const override { return sequences_; }
  size_t unfinished() const override { return running_.size(); }
  void status(std::function<void(EngineStatus)> then) override;
  void stop(std::function<void()> done) override;
  void roll() override;

 private:
  class Looking;  // all that the fleet's thread has

  void take(const std::vector<RequestOutput>& outputs);

  boost::asio::io_context& server_;
  const EngineEvents events_;
  std::unordered_map<uint64_t, std::shared_ptr<const Outputs>> running_;
  uint64_t next_ = 1;
  size_t sequences_ = 0;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);   // what the server's io_context has under way looks
  std::unique_ptr<Looking> looking_;  // last: its thread calls the above
};

}  // namespace lapidary
