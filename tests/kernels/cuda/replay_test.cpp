// Steps that are recorded once and then done again with other arrays: the same bits as without, and nothing
// of the host in between.
#include <gtest/gtest.h>

#include <numeric>

#include "tests/kernels/cuda/toy_decoder.h"

namespace lapidary {
namespace {

const DeviceChoice& device_of_program() { return tested_devices().front(); }

TEST(Replay, IsTheSameBitsWithOtherLengthsTokensPagesAndNeighbours) {
  Toy plain(device_of_program(), false), recorded(device_of_program(), true);
  const std::vector<std::pair<std::vector<int32_t>, int64_t>> steps{
      {{0, 1, 2}, 4}, {{0, 1, 2}, 4}, {{2, 4, 0, 1}, 4}, {{3}, 1},          {{3, 0, 1}, 4}, {{5, 3}, 4},
      {{4}, 1},       {{3}, 1},       {{0, 5}, 4},       {{1, 2, 3, 4}, 4}, {{3}, 1}};
  for (const auto& [slots, rows] : steps) {
    plain.step(slots, std::ssize(slots));  // no padding either
    recorded.step(slots, rows);
    ASSERT_EQ(recorded.token_table(), plain.token_table());
    ASSERT_EQ(recorded.logits(std::ssize(slots)), plain.logits(std::ssize(slots)));
  }
  EXPECT_EQ(plain.ops.replays(), 0);
  EXPECT_EQ(recorded.ops.replays(), 7);  // eleven steps of two sizes: two plain, two recorded
}

TEST(Replay, MemoryThatMovesEndsItsRecordings) {
  Toy plain(device_of_program(), false), recorded(device_of_program(), true);
  const std::vector<int32_t> slots{0, 2};
  for (int i = 0; i < 6; ++i) {
    plain.step(slots, 2);
    if (i == 3) recorded.ops.reserve_attention({100, 9000, 5000, 20, 256});
    recorded.step(slots, 2);
  }
  EXPECT_EQ(recorded.token_table(), plain.token_table());
  EXPECT_EQ(recorded.ops.replays(), 2);  // the third step and the sixth; else four
}

class ReplayRefuses : public testing::Test {
 protected:
  /// What the body throws while it is recorded; the plain run before it is let do it.
  void expect_refused(const std::function<void()>& body) {
    ++key;
    EXPECT_NO_THROW(ops.replay(key, body));
    EXPECT_THROW(ops.replay(key, body), std::logic_error);
    EXPECT_NO_THROW(body());  // no longer recorded
  }

  Device device{device_of_program(), 1};
  Backend& ops = device.ops;
  Buffer memory = ops.allocate(4096);
  const Tensor x = view(memory.get(), DType::f32, 2, 8);
  uint64_t key = 0;
};

TEST_F(ReplayRefuses, ArraysThatWereNotPrepared) {
  Rows table = Rows::random(4, 8, 1), angles = Rows::random(4, 8, 2);
  Matrix w = ops.make_matrix(4, 8, DType::f32, SumPlan::whole(8));
  ops.pack(w, 0, table.tensor());
  const std::vector<int32_t> ids{1, 2}, positions{0, 3};
  expect_refused([&] { ops.embed(x, w, ids, {}, 0, 1); });
  expect_refused([&] { ops.rope(x, 8, angles.tensor(), positions); });
  ops.prepare({{}, positions, ids, {}, {}, 0, 0});
  EXPECT_NO_THROW(ops.replay(100, [&] { ops.embed(x, w, ids, {}, 0, 1); }));
  EXPECT_NO_THROW(ops.replay(100, [&] { ops.embed(x, w, ids, {}, 0, 1); }));
  EXPECT_EQ(ops.replays(), 0);
  EXPECT_NO_THROW(ops.replay(100, [] { FAIL() << "it was recorded"; }));
  EXPECT_EQ(ops.replays(), 1);
}

TEST_F(ReplayRefuses, WhatTheHostHasToDo) {
  std::vector<float> host(16);
  expect_refused([&] { ops.synchronize(); });
  expect_refused([&] { ops.allocate(16); });
  expect_refused([&] { ops.copy(x, view(host.data(), DType::f32, 2, 8)); });
  expect_refused([&] { ops.copy(view(host.data(), DType::f32, 2, 8), x); });
  expect_refused([&] { ops.top_k(x, 0, 1); });
}

TEST(Readback, BringsWhatWasThereWhenItWasStarted) {
  Device device(device_of_program(), 1);
  Backend& ops = device.ops;
  const Buffer memory = ops.allocate(64);
  const Tensor x = view(memory.get(), DType::f32, 4, 4);
  std::vector<float> values(16);
  std::iota(values.begin(), values.end(), 1.0f);
  ops.copy(x, view(values.data(), DType::f32, 4, 4));
  const auto first = ops.make_readback(64), second = ops.make_readback(64);
  first->start(x.row_range(1, 3));
  ops.scale(x, 2);
  second->start(x);
  ops.scale(x, 2);
  const auto floats = [](std::span<const std::byte> bytes) {
    std::vector<float> result(bytes.size() / sizeof(float));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  };
  EXPECT_EQ(floats(first->wait()), std::vector<float>(values.begin() + 4, values.begin() + 12));
  EXPECT_TRUE(first->ready());
  for (float& value : values) value *= 2;
  EXPECT_EQ(floats(second->wait()), values);
  EXPECT_THROW(first->start(view(memory.get(), DType::f32, 4, 5)), std::logic_error);
}

}  // namespace
}  // namespace lapidary
