#include <stdexcept>

#include "kernels/cuda_options.h"
#include "tests/cuda_emulation/stream.h"
#include "tests/kernels/cuda/attention_device.h"

// A backend takes the kernel of a prefill that its options name, where its device has it.

namespace lapidary::cuda {
namespace {

class PrefillOfABackend : public testing::Test {
 protected:
  ~PrefillOfABackend() override { emulation::driver().device = before_; }

  /// A prefix over a page's edge.
  Rows attend(const AttentionCase& c, PrefillMode how) {
    CudaOptions options;
    options.prefill = how;
    const std::unique_ptr<Backend> ops = make_cuda_backend(threads_, options);
    Sequence s(c, 70, 70, 1);
    Pages pages(*ops, c.shape, {&s});
    Rows out(70, c.args.heads * c.shape.head_dim);
    step(*ops, c, pages, s, out, 0, 70);
    expect_rows(c, s, out, 0, 0, 70);
    return out;
  }

  ThreadPool threads_{1};
  const DeviceInfo before_ = emulation::driver().device;
};

TEST_F(PrefillOfABackend, IsAttendedByTheKernelThatIsAskedFor) {
  emulation::driver().device.warpgroups = true;
  for (const int64_t head_dim : {64, 72, 128}) {
    const AttentionCase c = make_case(DType::bf16, head_dim, 1, 2, 2);
    const Rows by_warps = attend(c, PrefillMode::warps), by_warpgroups = attend(c, PrefillMode::warpgroups);
    // Both are right, and the order of their additions tells them apart; narrow heads have one kernel.
    EXPECT_EQ(by_warps.same_bits(by_warpgroups), head_dim == 64) << head_dim;
    EXPECT_TRUE(by_warps.same_bits(attend(c, PrefillMode::measured)))
        << head_dim;  // no room was reserved yet
  }
}

TEST_F(PrefillOfABackend, IsRefusedWhereTheDeviceHasNoSuchKernel) {
  CudaOptions options;
  options.prefill = PrefillMode::warpgroups;
  try {
    make_cuda_backend(threads_, options);
    FAIL() << "no error";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("compute capability 9.0"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace lapidary::cuda
