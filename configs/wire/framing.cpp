#include "configs/wire/framing.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <utility>

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

/// The tag of a field that holds a message or bytes, and their length.
void write_tag(google::protobuf::io::CodedOutputStream& out, int field, size_t length) {
  constexpr uint32_t kLengthDelimited = 2;  // the wire type
  out.WriteTag(static_cast<uint32_t>(field) << 3 | kLengthDelimited);
  out.WriteVarint32(static_cast<uint32_t>(length));
}

/// A message of `fields`, and a last field of that many bytes which is still to follow.
std::string open_message(std::string fields, int last_field, size_t length) {
  google::protobuf::io::StringOutputStream stream(&fields);
  google::protobuf::io::CodedOutputStream out(&stream);
  write_tag(out, last_field, length);
  out.Trim();
  return fields;
}

std::shared_ptr<std::string> with_header(size_t length) {
  if (length > INT32_MAX)
    throw std::logic_error(cat("a frame of ", length, " bytes"));  // Protobuf's own limit
  const auto header = header_of(static_cast<uint32_t>(length));
  return std::make_shared<std::string>(header.data(), header.size());
}

}  // namespace

EncodedFrame encode_frame(const wire::Frame& frame) {
  if (frame.body_case() == wire::Frame::BODY_NOT_SET) throw std::logic_error("a frame without content");
  const size_t length = frame.ByteSizeLong();
  auto bytes = with_header(length);
  bytes->reserve(kFrameHeader + length);
  if (!frame.AppendToString(bytes.get())) throw std::logic_error("a frame that cannot be serialised");
  return {std::move(bytes), nullptr};
}

/// Fields of a message may come in any order: the bytes are the last field of the last message.
EncodedFrame encode_frame(const wire::Encode& order, std::shared_ptr<const wire::ImageSource> image) {
  wire::ImageSource place;
  place.set_path(image->path());
  place.set_offset(image->offset());
  place.set_in_tar(image->in_tar());
  place.set_entry(image->entry());
  place.set_entry_bytes(image->entry_bytes());
  if (image->data().empty()) {
    wire::Frame frame;
    *frame.mutable_encode() = order;
    *frame.mutable_encode()->mutable_image() = std::move(place);
    return encode_frame(frame);
  }
  const size_t data = image->data().size();
  const std::string in_image =
      open_message(place.SerializeAsString(), wire::ImageSource::kDataFieldNumber, data);
  const std::string in_encode =
      open_message(order.SerializeAsString(), wire::Encode::kImageFieldNumber, in_image.size() + data) +
      in_image;
  const std::string in_frame =
      open_message({}, wire::Frame::kEncodeFieldNumber, in_encode.size() + data) + in_encode;
  auto head = with_header(in_frame.size() + data);
  *head += in_frame;
  return {std::move(head), {image, &image->data()}};
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
  if (bytes_.size() < kFrameHeader) return;
  // At once: growing by doubling would copy a picture again and again, and hold it twice.
  const size_t whole = kFrameHeader + length_in(bytes_.data());
  if (whole <= limit_ && whole > bytes_.capacity()) bytes_.reserve(whole);
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
