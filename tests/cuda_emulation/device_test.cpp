#include "kernels/cuda/runtime/device.h"

#include <cuda_platform.h>
#include <gtest/gtest.h>

#include <cstring>
#include <future>
#include <thread>
#include <vector>

#include "tests/cuda_emulation/protection.h"
#include "tests/cuda_emulation/stream.h"

// The emulated devices do what their streams are given beside the host, and as late as real ones may.

namespace lapidary::cuda {
namespace {

__global__ void fill(int* to, int value, int n) {
  if (static_cast<int>(threadIdx.x) < n) to[threadIdx.x] = value;
}

__global__ void fail(int) { __shfl_sync(1u, 0, 0); }

/// Work that lasts until it is let go on.
class Gate {
 public:
  explicit Gate(Stream stream) {
    emulation::submit(stream, [opened = opened_.get_future().share()] { opened.wait(); });
  }
  void open() { opened_.set_value(); }

 private:
  std::promise<void> opened_;
};

class EmulatedDevice : public testing::Test {
 protected:
  EmulatedDevice() : stream(make_stream(false)), memory(allocate_shared(64)), pinned(allocate_pinned(64)) {}
  ~EmulatedDevice() override { destroy(stream); }

  const Stream stream;
  Buffer memory, pinned;
  int* numbers = reinterpret_cast<int*>(memory.get());
  int* host = reinterpret_cast<int*>(pinned.get());
};

TEST_F(EmulatedDevice, KernelsRunInTheStreamsOrder) {
  Gate gate(stream);
  launch(stream, dim3(1), 32, 0, fill, numbers, 7, 16);
  EXPECT_EQ(numbers[0], 0);
  gate.open();
  synchronize(stream);
  EXPECT_EQ(numbers[15], 7);
}

/// to = from + 1, read before the wait or behind it.
__global__ void add_one(EarlyStart, int* to, const int* from, bool too_early) {
  ptx::let_next_start();
  const int early = *from;
  ptx::wait_for_previous();
  *to = (too_early ? early : *from) + 1;
}

__global__ void forget_to_wait(EarlyStart, bool only_one) {
  if (!only_one || threadIdx.x > 0) ptx::wait_for_previous();
}
__global__ void wait_twice(EarlyStart) {
  ptx::wait_for_previous();
  ptx::wait_for_previous();
}
__global__ void wait_undeclared(int) { ptx::wait_for_previous(); }

// Kernels that may start early do so, as far as their wait.
TEST_F(EmulatedDevice, WhatAKernelReadsBeforeItsWaitIsOld) {
  for (const bool too_early : {false, true}) {
    launch(stream, dim3(1), 32, 0, fill, numbers, 7, 3);
    launch(stream, dim3(1), 1, 0, fill, numbers, 20, 1);
    launch(stream, dim3(1), 1, 0, add_one, numbers + 1, numbers, too_early);
    launch(stream, dim3(1), 1, 0, add_one, numbers + 2, numbers + 1, too_early);
    synchronize(stream);
    EXPECT_EQ(numbers[1], too_early ? 8 : 21);
    EXPECT_EQ(numbers[2], too_early ? 8 : 22);
  }
  launch(stream, dim3(1), 32, 0, fill, numbers, 7, 3);
  launch({stream.handle, false}, dim3(1), 1, 0, add_one, numbers + 1, numbers, true);
  synchronize(stream);
  EXPECT_EQ(numbers[1], 8);  // it was not to start early
}

TEST_F(EmulatedDevice, AKernelThatStartsEarlyWaitsOnceOnEachThread) {
  const auto run = [&](auto kernel, auto... arguments) {
    launch(stream, dim3(2), 64, 0, fill, numbers, 7, 3);
    launch(stream, dim3(2), 64, 0, kernel, arguments...);
    synchronize(stream);
  };
  EXPECT_NO_THROW(run(forget_to_wait, false));
  EXPECT_THROW(run(forget_to_wait, true), std::logic_error);
  EXPECT_THROW(run(wait_twice), std::logic_error);
  EXPECT_THROW(run(wait_undeclared, 0), std::logic_error);
}

TEST_F(EmulatedDevice, PinnedMemoryIsReadWhenTheCopyIsMade) {
  Gate gate(stream);
  host[0] = 1;
  copy(stream, memory.get(), pinned.get(), 4);
  host[0] = 2;  // too early
  gate.open();
  synchronize(stream);
  EXPECT_EQ(numbers[0], 2);
}

TEST_F(EmulatedDevice, OtherMemoryOfTheHostIsReadAtOnceAndWrittenWhenTheCallReturns) {
  int own = 5;
  copy(stream, memory.get(), &own, 4);
  own = 6;
  launch(stream, dim3(1), 32, 0, fill, numbers + 1, 8, 1);
  int both[2];
  copy(stream, both, memory.get(), 8);
  EXPECT_EQ(both[0], 5);
  EXPECT_EQ(both[1], 8);
}

TEST_F(EmulatedDevice, CopiesRowsAndZeroes) {
  std::vector<int> from(12);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<int>(i) + 1;
  copy_rows(stream, memory.get(), 8, from.data(), 16, 8, 3);
  zero(stream, memory.get() + 4, 4);
  synchronize(stream);
  EXPECT_EQ(std::vector<int>(numbers, numbers + 7), (std::vector<int>{1, 0, 5, 6, 9, 10, 0}));
}

TEST_F(EmulatedDevice, AnEventEndsWhereItWasRecorded) {
  const Event event = make_event();
  wait(event);  // never recorded
  launch(stream, dim3(1), 32, 0, fill, numbers, 1, 1);
  record(event, stream);
  Gate gate(stream);
  launch(stream, dim3(1), 32, 0, fill, numbers, 2, 1);
  wait(event);
  EXPECT_TRUE(done(event));
  EXPECT_EQ(numbers[0], 1);
  record(event, stream);
  EXPECT_FALSE(done(event));
  gate.open();
  synchronize(stream);
  EXPECT_EQ(numbers[0], 2);
  destroy(event);
}

TEST_F(EmulatedDevice, EndsItsWorkBeforeMemoryGoesBack) {
  Buffer other = allocate(64);
  copy(stream, memory.get(), other.get(), 4);
  launch(stream, dim3(1), 32, 0, fill, numbers, 3, 1);
  other.reset();
  EXPECT_EQ(numbers[0], 3);
}

TEST_F(EmulatedDevice, RunsStreamsBesideEachOther) {
  const Stream other = make_stream(false);
  Gate gate(other);
  launch(other, dim3(1), 32, 0, fill, numbers, 4, 1);
  launch(stream, dim3(1), 32, 0, fill, numbers + 1, 5, 1);
  synchronize(stream);
  EXPECT_EQ(numbers[0], 0);
  EXPECT_EQ(numbers[1], 5);
  gate.open();
  destroy(other);
  EXPECT_EQ(numbers[0], 4);
}

TEST_F(EmulatedDevice, AStreamWaitsForAnothersEventAndTheHostDoesNot) {
  const Stream other = make_stream(false);
  const Event event = make_event();
  Gate gate(other);
  launch(other, dim3(1), 32, 0, fill, numbers, 4, 1);
  record(event, other);
  wait(stream, event);
  copy(stream, numbers + 1, numbers, 4);
  EXPECT_EQ(numbers[1], 0);
  gate.open();
  synchronize(stream);
  EXPECT_EQ(numbers[1], 4);
  destroy(event);
  destroy(other);
}

TEST_F(EmulatedDevice, GivesMemoryBackWithoutAnotherDevice) {
  std::thread([] {
    use_device(1);
    const Stream there = make_stream(false);
    Gate gate(there);
    Buffer own = allocate(64);
    std::thread([] { allocate(64).reset(); }).join();  // on device 0
    gate.open();
    destroy(there);
  }).join();
}

TEST_F(EmulatedDevice, KnowsItsMemory) {
  int own = 0;
  EXPECT_TRUE(on_device(memory.get() + 63));
  EXPECT_FALSE(on_device(pinned.get()));
  EXPECT_FALSE(on_device(&own));
}

TEST_F(EmulatedDevice, EndsTheProcessWhereTheHostTouchesItsMemory) {
  if (!emulation::host_access_is_noticed()) GTEST_SKIP() << "this processor has no protection keys";
  const Buffer own = allocate(64);
  EXPECT_DEATH(own[0] = std::byte{1}, "host code touched memory of the emulated device");
  std::byte seen{};
  copy(stream, &seen, own.get(), 1);
  EXPECT_EQ(seen, std::byte{0});
}

TEST_F(EmulatedDevice, TellsOfAFailedKernelWhenItIsWaitedFor) {
  launch(stream, dim3(1), 32, 0, fail, 0);
  EXPECT_THROW(synchronize(stream), std::logic_error);
  EXPECT_NO_THROW(synchronize(stream));
}

}  // namespace
}  // namespace lapidary::cuda
