#pragma once

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "configs/wire/framing.h"

namespace lapidary {

struct FrameChannelLimits {
  size_t frame = kFrameLimit;
  /// Bytes that wait for a peer that does not read; those of pictures apart, which who sends them bounds.
  size_t queue = size_t{256} << 20;
};

/// Frames over one connection, both ways. All calls on its io_context's thread; callbacks come from there
/// too, never from within a call, and none after `close` or `closed`. Lives (by shared_ptr) until its last
/// operation has ended.
class FrameChannel : public std::enable_shared_from_this<FrameChannel> {
 public:
  struct Events {
    std::function<void(wire::Frame)> received;
    /// The peer closed or broke the connection, said what is no frame, or does not read. Once, and last.
    std::function<void(const std::string& why)> closed;
  };

  FrameChannel(boost::asio::ip::tcp::socket socket, const FrameChannelLimits& limits);
  /// Begins to read. The functions live as long as the channel: they may not own it.
  void start(Events events);
  /// Other callbacks from the next frame on; may be called by one of the old ones.
  void hand_over(Events events);
  void set_frame_limit(size_t limit) { decoder_.set_limit(limit); }

  /// In order. What waits together goes out together.
  void send(EncodedFrame frame);
  /// Once all that was sent is out the peer is told that nothing follows; reading goes on.
  void finish();
  /// At once; what waits is dropped.
  void close();
  bool is_open() const { return open_; }
  /// Nothing that was sent waits any more.
  bool is_flushed() const { return waiting_.empty() && writing_.empty(); }

 private:
  void read();
  void have_read(const boost::system::error_code& error, size_t size);
  void write();
  void have_written(const boost::system::error_code& error);
  void fail_later(std::string why);
  void end(const std::string& why);

  boost::asio::ip::tcp::socket socket_;
  FrameChannelLimits limits_;
  FrameDecoder decoder_;
  std::shared_ptr<const Events> events_;
  std::array<char, 64 << 10> arrived_;
  std::vector<EncodedFrame> waiting_, writing_;
  size_t queued_ = 0;  // bytes of both
  bool open_ = true;
  bool finishing_ = false;
};

}  // namespace lapidary
