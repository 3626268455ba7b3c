#include "configs/wire/frame_channel.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "configs/error.h"

namespace lapidary {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

FrameChannel::FrameChannel(tcp::socket socket, const FrameChannelLimits& limits)
    : socket_(std::move(socket)), limits_(limits), decoder_(limits.frame) {
  error_code ignored;  // a peer that is gone already is found by the first read
  socket_.set_option(tcp::no_delay(true), ignored);
}

void FrameChannel::start(Events events) {
  hand_over(std::move(events));
  read();
}

void FrameChannel::hand_over(Events events) { events_ = std::make_shared<const Events>(std::move(events)); }

void FrameChannel::read() {
  socket_.async_read_some(asio::buffer(arrived_),
                          [self = shared_from_this()](const error_code& error, size_t size) {
                            if (self->open_) self->have_read(error, size);
                          });
}

void FrameChannel::have_read(const error_code& error, size_t size) {
  if (error == asio::error::eof)
    return end(decoder_.is_mid_frame() ? "closed the connection within a frame" : "closed the connection");
  if (error) return end(cat("the connection broke: ", error.message()));
  try {
    decoder_.feed({arrived_.data(), size});
    while (auto frame = decoder_.next()) {
      const auto events = events_;  // they may be handed over meanwhile
      events->received(std::move(*frame));
      if (!open_) return;
    }
  } catch (const Error& e) {
    return end(cat("sent ", e.what()));
  }
  read();
}

void FrameChannel::send(EncodedFrame frame) {
  if (!open_ || finishing_) return;
  queued_ += frame.head->size();
  if (queued_ > limits_.queue)
    return fail_later(cat("does not read: ", queued_, " bytes wait, at most ", limits_.queue, " may"));
  waiting_.push_back(std::move(frame));
  if (writing_.empty()) write();
}

void FrameChannel::write() {
  writing_.swap(waiting_);
  std::vector<asio::const_buffer> buffers;
  buffers.reserve(2 * writing_.size());
  for (const EncodedFrame& frame : writing_) {
    buffers.push_back(asio::buffer(*frame.head));
    if (frame.data) buffers.push_back(asio::buffer(*frame.data));
  }
  asio::async_write(socket_, buffers, [self = shared_from_this()](const error_code& error, size_t) {
    if (self->open_) self->have_written(error);
  });
}

void FrameChannel::have_written(const error_code& error) {
  // What the peer said before it went is still to be read; the reads find the end after it.
  if (error) return;
  for (const EncodedFrame& frame : writing_) queued_ -= frame.head->size();
  writing_.clear();
  if (!waiting_.empty()) return write();
  error_code ignored;
  if (finishing_) socket_.shutdown(tcp::socket::shutdown_send, ignored);
}

void FrameChannel::finish() {
  if (!open_ || finishing_) return;
  finishing_ = true;
  error_code ignored;
  if (is_flushed()) socket_.shutdown(tcp::socket::shutdown_send, ignored);
}

void FrameChannel::close() {
  if (!open_) return;
  open_ = false;
  waiting_.clear();
  queued_ = 0;
  error_code ignored;
  socket_.close(ignored);
}

void FrameChannel::fail_later(std::string why) {
  asio::post(socket_.get_executor(), [self = shared_from_this(), why = std::move(why)] {
    if (self->open_) self->end(why);
  });
}

void FrameChannel::end(const std::string& why) {
  close();
  const auto events = events_;
  events->closed(why);
}

}  // namespace lapidary
