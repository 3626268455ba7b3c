#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "configs/wire/frame_channel.h"

namespace lapidary {

struct ConnectOptions {
  std::vector<std::string> endpoints;  // "host:port", "[IPv6]:port"
  double connect_seconds = 60;         // for all
  double answer_seconds = 5;           // for one of them to be reached, and to answer the hello
  FrameChannelLimits limits;
};

struct Connection {
  std::shared_ptr<FrameChannel>
      channel;  // welcomed; its callbacks are to be handed over before the io_context runs
  wire::Welcome welcome;
  std::vector<wire::Frame> early;  // what came together with the welcome
};

/// Tries the endpoints in turn, again and again, until one welcomes who says `hello`; runs the io_context
/// meanwhile. Throws Error when one refused and no other welcomed in the same round, or when the time is
/// over.
Connection connect_to_coordinator(boost::asio::io_context& io, const ConnectOptions& options,
                                  const wire::Hello& hello);

}  // namespace lapidary
