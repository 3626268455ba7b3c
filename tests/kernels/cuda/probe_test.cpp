#include "kernels/cuda/probe/probe.h"

#include "kernels/device_probe.h"
#include "tests/kernels/kernel_test.h"

namespace lapidary {
namespace {

class DeviceProbe : public KernelTest {
 protected:
  Device device{choice};
  Backend& ops = device.ops;
};

TEST_P(DeviceProbe, KernelsReadAndCopyEveryWord) {
  for (const int64_t words : {4, 1000, 1024 * 8 * 4 * 3 + 4}) {
    const Buffer from = test_memory(static_cast<size_t>(words) * 4),
                 to = test_memory(static_cast<size_t>(words) * 4);
    const Buffer sum = test_memory(4);
    auto* numbers = reinterpret_cast<uint32_t*>(from.get());
    const auto* copied = reinterpret_cast<const uint32_t*>(to.get());
    cuda::fill_with_hashes({}, numbers, words);
    cuda::read_all({}, reinterpret_cast<uint32_t*>(sum.get()), numbers, words, 2);
    cuda::copy_all({}, reinterpret_cast<uint32_t*>(to.get()), numbers, words, 2);
    cuda::synchronize({});
    uint32_t want = 0;
    for (int64_t i = 0; i < words; ++i) {
      want ^= cuda::probe_word(static_cast<uint32_t>(i));
      ASSERT_EQ(copied[i], cuda::probe_word(static_cast<uint32_t>(i))) << i;
    }
    EXPECT_EQ(*reinterpret_cast<const uint32_t*>(sum.get()), want);
  }
}

TEST_P(DeviceProbe, EveryLimitIsMeasured) {
  const DeviceRates rates = measure_device(ops, size_t{64} << 10);
  for (const double rate : {rates.read, rates.copy, rates.upload, rates.download}) EXPECT_GT(rate, 0);
  EXPECT_GT(rates.boundary, 0);
  EXPECT_GT(library_product_seconds(ops, 5, 40, 24), 0);
  EXPECT_GT(library_product_seconds(ops, 1, 1100, 8), 0);
}

INSTANTIATE_TEST_SUITE_P(Device, DeviceProbe, testing::ValuesIn(tested_devices()), kTestNameOfDevice);

}  // namespace
}  // namespace lapidary
