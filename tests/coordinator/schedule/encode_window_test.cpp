#include "coordinator/schedule/encode_window.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lapidary {
namespace {

LaneEncode order(uint64_t id, size_t bytes) {
  const auto image = std::make_shared<wire::ImageSource>();
  image->set_data(std::string(bytes, 'x'));
  LaneEncode order;
  order.encode.set_id(id);
  order.image = image;
  return order;
}

std::vector<uint64_t> sendable(EncodeWindow& window) {
  std::vector<uint64_t> ids;
  while (auto next = window.next()) ids.push_back(next->encode.id());
  return ids;
}

using Ids = std::vector<uint64_t>;

TEST(EncodeWindow, WhatIsOutStaysWithinTheRoom) {
  EncodeWindow window(100);
  for (const uint64_t id : {1, 2, 3, 4}) window.add(order(id, 40));
  EXPECT_EQ(sendable(window), (Ids{1, 2}));
  EXPECT_EQ(window.bytes_out(), 80);
  EXPECT_EQ(window.waiting(), 2u);
  window.answered(2);
  EXPECT_EQ(sendable(window), (Ids{3}));
  window.answered(1);
  window.answered(3);
  EXPECT_EQ(sendable(window), (Ids{4}));
  window.answered(4);
  EXPECT_EQ(window.bytes_out(), 0);
}

TEST(EncodeWindow, OneThatIsLargerGoesAlone) {
  EncodeWindow window(100);
  window.add(order(1, 10));
  window.add(order(2, 500));
  window.add(order(3, 10));
  EXPECT_EQ(sendable(window), (Ids{1}));  // order is kept
  window.answered(1);
  EXPECT_EQ(sendable(window), (Ids{2}));
  window.answered(2);
  EXPECT_EQ(sendable(window), (Ids{3}));
}

TEST(EncodeWindow, FilesTakeNoRoom) {
  EncodeWindow window(0);
  for (const uint64_t id : {1, 2, 3}) window.add(order(id, 0));
  EXPECT_EQ(sendable(window), (Ids{1, 2, 3}));
  window.answered(1);
  window.answered(77);  // never sent
  EXPECT_EQ(window.bytes_out(), 0);
}

}  // namespace
}  // namespace lapidary
