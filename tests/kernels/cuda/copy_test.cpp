#include <numeric>

#include "kernels/cuda/runtime/device.h"
#include "tests/kernels/cuda/activations.h"

namespace lapidary {
namespace {

class DeviceCopy : public KernelTest {
 protected:
  Device device{choice};
  Backend& ops = device.ops;
};

/// Bytes 0, 1, 2, … in memory of the device.
Buffer counted(Backend& ops, int64_t bytes) {
  std::vector<uint8_t> numbers(static_cast<size_t>(bytes));
  std::iota(numbers.begin(), numbers.end(), uint8_t{0});
  Buffer memory = ops.allocate(numbers.size());
  ops.copy(view(memory.get(), DType::u8, 1, bytes), view(numbers.data(), DType::u8, 1, bytes));
  return memory;
}

TEST_P(DeviceCopy, MovesRowsOfAnyTypeAndWidth) {
  constexpr int64_t kRows = 5, kStride = 96;
  const Buffer from = counted(ops, kRows * kStride * 4);
  for (const DType dtype : {DType::u8, DType::bf16, DType::i32, DType::f32}) {
    for (const int64_t shift : {0, 1, 4, 16}) {
      for (const int64_t cols : {1, 2, 4, 31, 32, 64}) {
        const auto size = static_cast<int64_t>(size_of(dtype));
        Buffer to = ops.allocate(static_cast<size_t>(kRows * kStride * size));
        const Tensor source = view(from.get(), dtype, kRows, kStride).col_range(shift, shift + cols);
        ops.copy(view(to.get(), dtype, kRows, kStride).col_range(0, cols), source);
        std::vector<uint8_t> seen(static_cast<size_t>(kRows * kStride * size));
        const auto bytes = static_cast<int64_t>(seen.size());
        ops.copy(view(seen.data(), DType::u8, 1, bytes), view(to.get(), DType::u8, 1, bytes));
        for (int64_t r = 0; r < kRows; ++r) {
          for (int64_t b = 0; b < kStride * size; ++b) {
            const int64_t want = b < cols * size ? (r * kStride + shift) * size + b : 0;
            ASSERT_EQ(seen[static_cast<size_t>(r * kStride * size + b)], static_cast<uint8_t>(want))
                << name_of(dtype) << " from " << shift << ", " << cols << " columns: row " << r << ", byte "
                << b;
          }
        }
      }
    }
  }
}

// A NaN's bits are data, too.
TEST_P(DeviceCopy, KeepsEveryBitOfEqualTypes) {
  std::vector<uint16_t> all(65536), back(65536);
  std::iota(all.begin(), all.end(), uint16_t{0});
  const Buffer first = ops.allocate(2 * 65536), second = ops.allocate(2 * 65536);
  const auto on_device = [](const Buffer& memory) { return view(memory.get(), DType::bf16, 256, 256); };
  ops.copy(on_device(first), view(all.data(), DType::bf16, 256, 256));
  ops.copy(on_device(second).col_range(0, 100), on_device(first).col_range(0, 100));
  ops.copy(on_device(second).col_range(100, 256), on_device(first).col_range(100, 256));
  ops.copy(view(back.data(), DType::bf16, 256, 256), on_device(second));
  EXPECT_EQ(back, all);
}

TEST_P(DeviceCopy, IsCompleteWhereTheHostIsOnOneSide) {
  const auto x = Activations::random(DType::f32, 40, 50, false, 1);
  Activations y(DType::f32, 40, 50, true);
  ops.copy(y.tensor(), x.tensor());
  ops.scale(y.tensor(), 2);
  std::vector<float> seen(40 * 50), changed(40 * 50, 3.0f);
  ops.copy(view(seen.data(), DType::f32, 40, 50), y.tensor());
  for (int64_t r = 0; r < 40; ++r)
    for (int64_t c = 0; c < 50; ++c) ASSERT_EQ(seen[static_cast<size_t>(r * 50 + c)], 2 * x.at(r, c));
  const Buffer pinned = cuda::allocate_pinned(4000);
  auto* numbers = reinterpret_cast<float*>(pinned.get());
  std::fill_n(numbers, 1000, 1.0f);
  ops.copy(y.tensor().row_range(0, 20), view(numbers, DType::f32, 20, 50));
  std::fill_n(numbers, 1000, 2.0f);  // as the caller may
  ops.copy(view(seen.data(), DType::f32, 40, 50), y.tensor());
  EXPECT_EQ(seen[999], 1.0f);
}

TEST_P(DeviceCopy, RefusesWhatItCannotDo) {
  std::vector<uint16_t> own(64);
  const Activations x(DType::f32, 4, 16, true);
  EXPECT_THROW(ops.copy(x.tensor(), view(own.data(), DType::bf16, 4, 16)), std::logic_error);
  Tensor whole_numbers = x.tensor();
  whole_numbers.dtype = DType::i32;
  EXPECT_THROW(ops.copy(x.tensor(), whole_numbers), std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Device, DeviceCopy, testing::ValuesIn(tested_devices()), kTestNameOfDevice);

}  // namespace
}  // namespace lapidary
