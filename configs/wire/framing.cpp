#include "configs/wire/framing.h"

#include <google/protobuf/descriptor.h>

#include <array>
#include <cstdint>
#include <stdexcept>

#include "configs/error.h"

namespace lapidary {
namespace {

std::array<char, kFrameHeader> header_of(uint32_t length) {
  std::array<char, kFrameHeader> header;
  for (size_t i = 0; i < header.size(); ++i) header[i] = static_cast<char>(length >> (8 * i));
  return header;
}

size_t length_in(const char* header) {
  uint32_t length = 0;
  for (size_t i = 0; i < kFrameHeader; ++i)
    length |= static_cast<uint32_t>(static_cast<unsigned char>(header[i])) << (8 * i);
  return length;
}

}  // namespace

EncodedFrame encode_frame(const wire::Frame& frame) {
  if (frame.body_case() == wire::Frame::BODY_NOT_SET) throw std::logic_error("a frame without content");
  const size_t length = frame.ByteSizeLong();
  if (length > INT32_MAX)
    throw std::logic_error(cat("a frame of ", length, " bytes"));  // Protobuf's own limit
  const auto header = header_of(static_cast<uint32_t>(length));
  auto bytes = std::make_shared<std::string>();
  bytes->reserve(kFrameHeader + length);
  bytes->append(header.data(), header.size());
  if (!frame.AppendToString(bytes.get())) throw std::logic_error("a frame that cannot be serialised");
  return bytes;
}

std::string frame_name(const wire::Frame& frame) {
  if (frame.body_case() == wire::Frame::BODY_NOT_SET) return "nothing";
  return wire::Frame::descriptor()->FindFieldByNumber(frame.body_case())->name();
}

void FrameDecoder::feed(std::string_view bytes) {
  // What has become frames is let go of only here, so that many small ones do not move the rest again and
  // again.
  bytes_.erase(0, begin_);
  begin_ = 0;
  bytes_.append(bytes);
}

std::optional<wire::Frame> FrameDecoder::next() {
  const size_t arrived = bytes_.size() - begin_;
  if (arrived < kFrameHeader) return std::nullopt;
  const size_t length = length_in(bytes_.data() + begin_);
  if (length > limit_) fail("a frame of ", length, " bytes, at most ", limit_, " are allowed");
  if (arrived - kFrameHeader < length) return std::nullopt;
  wire::Frame frame;
  if (!frame.ParseFromArray(bytes_.data() + begin_ + kFrameHeader, static_cast<int>(length)))
    fail("a frame of ", length, " bytes that cannot be read");
  if (frame.body_case() == wire::Frame::BODY_NOT_SET) fail("a frame without content");
  begin_ += kFrameHeader + length;
  if (begin_ == bytes_.size()) {
    bytes_ = {};  // one large frame does not keep its memory for good
    begin_ = 0;
  }
  return frame;
}

}  // namespace lapidary
