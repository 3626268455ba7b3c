#include <gtest/gtest.h>

#include <future>
#include <stdexcept>

#include "tests/cuda_emulation/emulated_backend.h"
#include "tests/cuda_emulation/stream.h"

namespace lapidary {
namespace {

class Beside : public testing::Test {
 protected:
  Tensor at(size_t i) const { return view(memory.get() + i * sizeof(float), DType::f32, 1, 1); }
  void set(size_t i, float value) { ops->copy(at(i), view(&value, DType::f32, 1, 1)); }
  float get(size_t i) {
    float value = 0;
    ops->copy(view(&value, DType::f32, 1, 1), at(i));
    return value;
  }
  /// The backend's queue of the moment does nothing until `opened`.
  void hold() {
    emulation::submit({ops->native_stream()}, [opened = opened.get_future().share()] { opened.wait(); });
  }

  ThreadPool threads{1};
  const std::unique_ptr<Backend> ops = make_emulated_cuda_backend(threads);
  const Buffer memory = ops->allocate(4 * sizeof(float));
  std::promise<void> opened;
};

TEST_F(Beside, ABodyHoldsUpNothingBeforeItIsWaitedFor) {
  for (size_t i = 0; i < 4; ++i) set(i, static_cast<float>(1 << i));
  ops->add(at(0), at(1));  // 3; the body sees it
  const DeviceEvent body = ops->on_side_stream([&] {
    hold();
    ops->add(at(0), at(2));  // 7
  });
  ops->add(at(3), at(1));
  EXPECT_EQ(get(3), 10);
  EXPECT_EQ(get(0), 3);
  ops->wait_event(body);
  ops->add(at(3), at(0));
  opened.set_value();
  EXPECT_EQ(get(3), 17);
}

TEST_F(Beside, BodiesComeAfterEachOtherAndAfterWhatWasBefore) {
  for (size_t i = 0; i < 4; ++i) set(i, 1);
  hold();
  ops->scale(at(0), 3);
  ops->on_side_stream([&] { ops->add(at(1), at(0)); });                           // 4
  const DeviceEvent last = ops->on_side_stream([&] { ops->add(at(2), at(1)); });  // 5
  for (int i = 0; i < 40; ++i) ops->on_side_stream([&] { ops->scale(at(3), 1); });
  opened.set_value();
  ops->wait_event(last);
  ops->add(at(0), at(2));
  EXPECT_EQ(get(0), 8);
}

TEST_F(Beside, ABodyThatFailsLeavesTheBackendAsItWas) {
  EXPECT_THROW(ops->on_side_stream([] { throw std::runtime_error("no"); }), std::runtime_error);
  EXPECT_THROW(ops->on_side_stream([&] { ops->on_side_stream([] {}); }), std::logic_error);
  void* const stream = ops->native_stream();
  ops->wait_event(ops->on_side_stream([&] { EXPECT_NE(ops->native_stream(), stream); }));
  EXPECT_EQ(ops->native_stream(), stream);
}

}  // namespace
}  // namespace lapidary
