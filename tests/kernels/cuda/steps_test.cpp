#include "kernels/cuda/runtime/step_table.h"
#include "tests/kernels/attention_cases.h"

// Steps that follow each other without anybody waiting for the stream.

namespace lapidary {
namespace {

TEST(StepTables, AreNotOverwrittenBeforeTheyTravelled) {
  constexpr int32_t kSteps = 40;
  const cuda::Stream stream = cuda::make_stream(false);
  cuda::StepTable table(2, 8, 64);
  const Buffer kept = cuda::allocate(kSteps * sizeof(cuda::StepSpan));
  for (int32_t i = 0; i < kSteps; ++i) {
    const std::array<int32_t, 2> pages{i, i + 1};
    const AttentionSpan span{i, 1, 64 + i, 1, pages};
    table.upload(stream, {&span, 1});
    cuda::copy(stream, kept.get() + static_cast<size_t>(i) * sizeof(cuda::StepSpan), table.view().spans,
               sizeof(cuda::StepSpan));
  }
  std::array<cuda::StepSpan, kSteps> seen;
  cuda::copy(stream, seen.data(), kept.get(), sizeof(seen));
  cuda::synchronize(stream);
  for (int32_t i = 0; i < kSteps; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)].position, 64 + i);
  cuda::destroy(stream);
}

class Steps : public KernelTest {
 protected:
  Device device{choice};
  Backend& ops = device.ops;
};

// The spans of a step travel once for all its layers; the next step's may differ in nothing but their pages,
// which may even lie in the same memory.
TEST_P(Steps, AreToldApartByTheirPages) {
  AttentionCase c;
  c.shape = {1, 16, DType::f32};
  c.args.heads = 1;
  Sequence first(c, 20, 20, 1), second(c, 20, 20, 50);
  Pages pages(ops, c.shape, {&first, &second});
  std::vector<int32_t> at = first.pages;
  const AttentionSpan span{0, 20, 0, 20, at};
  Rows out_first(20, 16), out_second(20, 16), again(20, 16);
  const auto store = [&](Sequence& s) {
    ops.store_kv(pages.data(), c.shape, {&span, 1}, s.k.tensor(), s.v.tensor());
  };
  const auto attend = [&](Sequence& s, Rows& out) {
    ops.attention(out.tensor(), s.q.tensor(), pages.data(), c.shape, {&span, 1}, c.args);
  };
  store(first);
  attend(first, out_first);
  at = second.pages;
  store(second);
  attend(second, out_second);
  at = first.pages;
  attend(first, again);
  ops.synchronize();
  expect_rows(c, first, out_first, 0, 0, 20);
  expect_rows(c, second, out_second, 0, 0, 20);
  EXPECT_TRUE(again.same_bits(out_first));
}

TEST_P(Steps, HaveTheRoomThatWasReserved) {
  AttentionCase c;
  c.shape = {1, 16, DType::f32};
  c.args.heads = 1;
  constexpr int64_t kSpans = 100;  // more than without
  const size_t before = ops.reserve_attention({});
  std::vector<AttentionSpan> spans;
  const std::vector<int32_t> pages{0};
  for (int64_t i = 0; i < kSpans; ++i) spans.push_back({i, 1, 0, 1, pages});
  const Buffer memory = ops.allocate(ops.kv_page_bytes(c.shape));
  Rows q(kSpans, 16), out = q;
  const auto attend = [&] {
    ops.attention(out.tensor(), q.tensor(), memory.get(), c.shape, spans, c.args);
    ops.synchronize();
  };
  EXPECT_THROW(attend(), std::logic_error);
  EXPECT_GT(ops.reserve_attention({kSpans, kSpans, 200, 1, 16}), before);
  EXPECT_NO_THROW(attend());
}

INSTANTIATE_TEST_SUITE_P(Device, Steps, testing::ValuesIn(tested_devices()), kTestNameOfDevice);

}  // namespace
}  // namespace lapidary
