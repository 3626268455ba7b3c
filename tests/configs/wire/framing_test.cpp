#include "configs/wire/framing.h"

#include <gtest/gtest.h>

#include "configs/error.h"
#include "tests/support/error_text.h"

namespace lapidary {
namespace {

wire::Frame encode_of(const std::string& bytes) {
  wire::Frame frame;
  frame.mutable_encode()->mutable_image()->set_data(bytes);
  return frame;
}

std::string header(uint32_t length) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(length >> (8 * i));
  return bytes;
}

TEST(Framing, TheLengthComesFirstInLittleEndian) {
  const std::string bytes = encode_frame(encode_of(std::string(300, 'x'))).bytes();
  EXPECT_EQ(bytes.substr(0, 4), header(static_cast<uint32_t>(bytes.size() - 4)));
}

TEST(Framing, FramesComeWholeHoweverTheirBytesArrive) {
  std::string bytes;
  for (const size_t size : {0, 1, 5000, 0, 77})
    bytes += encode_frame(encode_of(std::string(size, 'x'))).bytes();
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{4096}, bytes.size()}) {
    FrameDecoder decoder;
    std::vector<size_t> sizes;
    for (size_t i = 0; i < bytes.size(); i += piece) {
      decoder.feed(std::string_view(bytes).substr(i, piece));
      while (const auto frame = decoder.next()) sizes.push_back(frame->encode().image().data().size());
    }
    EXPECT_EQ(sizes, (std::vector<size_t>{0, 1, 5000, 0, 77})) << piece;
    EXPECT_FALSE(decoder.is_mid_frame());
  }
}

TEST(Framing, ALengthAboveTheLimitIsRefusedAtItsFourthByte) {
  FrameDecoder decoder(1000);
  decoder.feed(header(0xffffffff).substr(0, 3));
  EXPECT_FALSE(decoder.next());
  decoder.feed("\xff");
  EXPECT_EQ(error_of([&] { decoder.next(); }), "a frame of 4294967295 bytes, at most 1000 are allowed");
}

TEST(Framing, AFrameAtTheLimitPassesAndOneAboveDoesNot) {
  const std::string bytes = encode_frame(encode_of(std::string(500, 'x'))).bytes();
  FrameDecoder enough(bytes.size() - 4), less(bytes.size() - 5);
  enough.feed(bytes);
  less.feed(bytes);
  EXPECT_TRUE(enough.next());
  EXPECT_NE(error_of([&] { less.next(); }), "no error");
}

TEST(Framing, WhatIsNoFrameIsSaidSo) {
  FrameDecoder garbage, nothing;
  garbage.feed(header(5) + "\xff\xff\xff\xff\xff");
  EXPECT_EQ(error_of([&] { garbage.next(); }), "a frame of 5 bytes that cannot be read");
  nothing.feed(header(0));
  EXPECT_EQ(error_of([&] { nothing.next(); }), "a frame without content");
}

TEST(Framing, ANewLimitHoldsForTheNextFrame) {
  FrameDecoder decoder(10);
  decoder.set_limit(1000);
  decoder.feed(encode_frame(encode_of(std::string(500, 'x'))).bytes());
  EXPECT_TRUE(decoder.next());
}

TEST(Framing, AFileNameThatIsNoUtf8Arrives) {
  wire::Frame frame;
  frame.mutable_encode()->mutable_image()->set_path("\xff\xfe.jpg");
  FrameDecoder decoder;
  decoder.feed(encode_frame(frame).bytes());
  EXPECT_EQ(decoder.next()->encode().image().path(), "\xff\xfe.jpg");
}

TEST(Framing, AFrameHasTheNameOfItsContent) {
  wire::Frame frame;
  EXPECT_THROW(encode_frame(frame), std::logic_error);
  frame.mutable_step_done();
  EXPECT_EQ(frame_name(frame), "step_done");
}

TEST(Framing, APictureFollowsItsFrameUncopied) {
  for (const size_t size : {0, 1, 127, 128, 100'000}) {
    const auto image = std::make_shared<wire::ImageSource>();
    image->set_path("a.tar.gz");
    image->set_offset(512);
    image->set_entry("0.png");
    image->set_entry_bytes(static_cast<int64_t>(size));
    image->set_data(std::string(size, 'x'));
    wire::Encode order;
    order.set_id(7);
    order.set_slot(3);
    const EncodedFrame encoded = encode_frame(order, image);
    EXPECT_EQ(encoded.data.get(), size > 0 ? &image->data() : nullptr);
    FrameDecoder decoder;
    decoder.feed(encoded.bytes());
    const auto frame = decoder.next();
    ASSERT_TRUE(frame && frame->has_encode() && !decoder.is_mid_frame()) << size;
    EXPECT_EQ(frame->encode().id(), 7u);
    EXPECT_EQ(frame->encode().slot(), 3);
    EXPECT_EQ(frame->encode().image().SerializeAsString(), image->SerializeAsString());
  }
}

}  // namespace
}  // namespace lapidary
