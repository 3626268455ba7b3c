#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "configs/wire/wire.pb.h"

namespace lapidary {

/// On the wire a frame is its length (4 bytes, little endian), then a wire::Frame of that many bytes.
constexpr size_t kFrameHeader = 4;
/// Until it has proved who it is a peer may only say little.
constexpr size_t kHandshakeFrameLimit = size_t{64} << 10;
constexpr size_t kFrameLimit = size_t{64} << 20;

/// The bytes of one frame, shared by all peers that it goes to: a Step is serialised once for all ranks. A
/// picture's bytes are not copied into it but follow from where they lie.
struct EncodedFrame {
  std::shared_ptr<const std::string> head;
  std::shared_ptr<const std::string> data;  // may be null

  size_t size() const { return head->size() + (data ? data->size() : 0); }
  std::string bytes() const { return data ? *head + *data : *head; }
};

/// Throws std::logic_error for a frame without content.
EncodedFrame encode_frame(const wire::Frame& frame);
/// The frame of `order` with `image`, which it has not itself.
EncodedFrame encode_frame(const wire::Encode& order, std::shared_ptr<const wire::ImageSource> image);
/// What the frame holds, by its name in wire.proto: "step_done".
std::string frame_name(const wire::Frame& frame);

/// Bytes as they arrive, frames as they are whole. Writes no more memory than what has arrived, whatever a
/// length says.
class FrameDecoder {
 public:
  /// `limit`: bytes of one frame, its header apart.
  explicit FrameDecoder(size_t limit = kFrameLimit) : limit_(limit) {}
  /// For the frames that `next` has not begun.
  void set_limit(size_t limit) { limit_ = limit; }

  void feed(std::string_view bytes);
  /// The next whole frame, or nothing yet. Throws Error for one above the limit, one that is no wire::Frame
  /// and one without content; nothing that follows it can be told apart, so the peer has to be left.
  std::optional<wire::Frame> next();
  /// Whether the bytes so far end within a frame.
  bool is_mid_frame() const { return begin_ != bytes_.size(); }

 private:
  size_t limit_;
  std::string bytes_;
  size_t begin_ = 0;  // of what has not become a frame yet
};

}  // namespace lapidary
