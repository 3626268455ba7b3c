#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "configs/wire/framing.h"

namespace lapidary {

struct ControlLinkOptions {
  std::vector<std::string> endpoints;  // "host:port" or "[IPv6]:port", tried in turn
  wire::Hello hello;
  double connect_seconds = 60;  // until one of them has welcomed this rank
  double answer_seconds = 5;    // for one of them to be reached, and to answer the hello
  size_t frame_limit = kFrameLimit;
  size_t queue_limit = size_t{256} << 20;  // bytes; a coordinator that lets more wait is lost
};

/// In the reason of a loss where the coordinator is there and says nothing: then it says no reason either.
inline constexpr std::string_view kSilent = "was silent for ";

/// Called on the link's own thread.
struct ControlLinkEvents {
  std::function<void(wire::Frame)> received;
  /// The coordinator is gone, or silent; nothing comes any more. Not called for an end that is expected.
  std::function<void(const std::string& why)> lost;
  /// May add `spans` and `busy` to a heartbeat that is about to be sent; may be empty.
  std::function<void(wire::Heartbeat&)> beating;
};

/// A rank's end of the control plane: one connection to the coordinator, with a thread of its own.
class ControlLink {
 public:
  /// Dials, says hello and waits for the welcome. Throws Error with what stood in the way: each endpoint's
  /// answer, or the coordinator's reason for refusing.
  explicit ControlLink(ControlLinkOptions options);
  /// What was sent goes out first (for a second at most).
  ~ControlLink();
  ControlLink(const ControlLink&) = delete;
  ControlLink& operator=(const ControlLink&) = delete;

  const wire::Welcome& welcome() const;
  /// Frames and heartbeats from now on; to be called at once, for the coordinator waits for heartbeats. Once.
  void start(ControlLinkEvents events);

  /// From any thread; in order for each of them. Returns at once.
  void send(const wire::Frame& frame);
  /// The coordinator may close from now on (a Stop frame says so by itself).
  void expect_end();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary
