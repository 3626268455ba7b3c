#include <map>

#include "tests/kernels/cuda/attention_device.h"

// The CUDA kernels of attention against a loop in double (attend() of attention_cases.h). Its bound has 2^-8
// for what is rounded to bfloat16: each weight is, by up to 2^-9 of itself, and the sum they are divided by
// is not; queries, keys and values are rounded on both sides alike. The polynomial of the soft-cap is off by
// up to 7e-7 of a score, which is less than the bound has for the rounding of the score's own sum.

namespace lapidary::cuda {
namespace {

TEST(CudaAttention, HeadsOfManySizes) {
  for (const int64_t head_dim : {16, 30, 64, 72, 128, 256}) {
    SCOPED_TRACE(head_dim);
    check_step(make_case(DType::bf16, head_dim, 1, 2, 2), kRagged, head_dim % 3 == 0 ? kOdd : kEven);
    if (HasFatalFailure()) return;
  }
}

TEST(CudaAttention, PlainKernelOverBothCaches) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const int64_t head_dim : {1, 16, 30, 72, 256}) {
      SCOPED_TRACE(std::string(name_of(dtype)) + ", head_dim " + std::to_string(head_dim));
      AttentionCase c = make_case(dtype, head_dim, 2, 1, 2);
      c.args.softcap = head_dim == 16 ? 1.5f : 0.0f;
      check_step(c, kRagged, head_dim % 8 == 0 ? kEven : kOdd, true, 7);
      if (HasFatalFailure()) return;
    }
}

TEST(CudaAttention, GroupsAlsoCutByRanks) {
  check_step(make_case(DType::bf16, 16, 2, 1, 2));
  check_step(make_case(DType::bf16, 16, 1, 4, 4));
  check_step(make_case(DType::bf16, 16, 1, 8, 8));
  check_step(make_case(DType::bf16, 16, 1, 16, 16), {{3, 3, 0}, {66, 2, 65}});
  check_step(make_case(DType::bf16, 16, 1, 20, 20), {{3, 3, 0}, {66, 2, 65}});  // by the plain kernel
  check_step(make_case(DType::bf16, 16, 2, 3, 3, 2));  // the last head of one group, two of the next
  check_step(make_case(DType::bf16, 16, 3, 2, 2, 3));  // a KV head of a rank's own before, a shared one
  check_step(make_case(DType::bf16, 16, 1, 4, 1, 3));
}

TEST(CudaAttention, SpansAroundATile) {
  for (const int64_t rows : {2, 63, 64, 65, 130}) {
    SCOPED_TRACE(rows);
    check_step(make_case(DType::bf16, 16, 1, 1, 1), {{rows, rows, 0}, {rows + 70, 70, 70}, {rows + 5, 3, 5}});
    if (HasFatalFailure()) return;
  }
}

TEST(CudaAttention, WindowsOfBothPolicies) {
  for (const bool in_prefix : {false, true})
    for (const int64_t window : {1, 20, 64, 100}) {
      SCOPED_TRACE("window " + std::to_string(window) + (in_prefix ? ", in the prefix too" : ""));
      AttentionCase c = make_case(DType::bf16, 16, 1, 2, 2);
      c.args.window = window;
      c.args.window_in_prefix = in_prefix;
      // Prefixes longer than the window, of one row and of several.
      check_step(c, {{150, 131, 0}, {150, 131, 149}, {150, 131, 128}, {129, 129, 128}});
      if (HasFatalFailure()) return;
    }
}

TEST(CudaAttention, SoftcapComesBeforeTheMask) {
  for (const float cap : {1.5f, 50.0f, 100.0f})  // above 60 weights need an offset
    for (const bool plain : {false, true}) {
      AttentionCase c = make_case(DType::bf16, 32, 2, 2, 4);
      c.args.softcap = cap;
      c.args.window = 20;
      check_step(c, kRagged, kOdd, plain, 7);
      if (HasFatalFailure()) return;
    }
}

TEST(CudaAttention, LargeScoresNeitherOverflowNorVanish) {
  // Scores of up to about 400: for some rows all of them lie far below the cap's negative.
  for (const float cap : {0.0f, 50.0f, 100.0f}) {
    SCOPED_TRACE(cap);
    AttentionCase c = make_case(DType::bf16, 16, 1, 1, 1);
    c.args.scale = 25;
    c.args.softcap = cap;
    check_step(c, {{70, 3, 0}, {70, 70, 69}, {2, 1, 0}, {1, 1, 0}, {5, 1, 1}}, kOdd, false, 1);
    if (HasFatalFailure()) return;
  }
}

void check_activations(const AttentionCase& c, PrefillKernel kernel) {
  std::map<std::pair<int64_t, bool>, Rows> results;
  for (const Activations as : {kOdd, kEven, kNarrow, kNarrowOdd})
    for (const DType out : {DType::f32, DType::bf16}) {
      Step step(c, {{67, 67, 0}, {98, 70, 97}});
      AttentionDevice device(c, step.all(), as);
      device.out_dtype = out;
      device.prefill = kernel;
      for (const Sequence& s : step.sequences) device.store(s, s.tokens());
      results.emplace(std::pair{as.gap + (as.dtype == DType::bf16 ? 100 : 0), out == DType::bf16},
                      device.attend(step.spans(), *step.q));
    }
  // The cache rounds to bfloat16 in any case, so all agree; a narrow output is the wide one rounded.
  const Rows& wide = results.at({kOdd.gap, false});
  for (const auto& [key, rows] : results)
    for (int64_t r = 0; r < wide.rows(); ++r)
      for (int64_t n = 0; n < wide.cols(); ++n)
        ASSERT_EQ(rows.at(r, n), key.second ? from_bf16(to_bf16(wide.at(r, n))) : wide.at(r, n));
}

TEST(CudaAttention, ActivationsOfBothTypes) {
  const AttentionCase c = make_case(DType::bf16, 72, 1, 2, 2);
  for (const PrefillKernel kernel : prefill_kernels()) check_activations(c, kernel);
}

void check_bits(const AttentionCase& c, PrefillKernel kernel) {
  Step step(c, kRagged);
  AttentionDevice device(c, step.all());
  device.prefill = kernel;
  for (const Sequence& s : step.sequences) device.store(s, s.tokens());
  const std::vector<AttentionSpan> spans = step.spans();
  const Rows whole = device.attend(spans, *step.q, {16, 4096});
  device.multiprocessors = 1;  // a block takes several tiles, where its kernel can
  EXPECT_TRUE(device.attend(spans, *step.q).same_bits(whole));
  device.multiprocessors = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    AttentionSpan span = spans[i];
    const Rows expected = slice(whole, span.first_row, span.first_row + span.rows);
    const Rows q = slice(*step.q, span.first_row, span.first_row + span.rows);
    span.first_row = 0;
    EXPECT_TRUE(device.attend(span, q).same_bits(expected)) << "span " << i;
    if (span.rows < 8) continue;
    // The same rows in another tile of another span.
    span.rows -= 5;
    span.position += 5;
    EXPECT_TRUE(device.attend(span, slice(q, 5, q.rows())).same_bits(slice(expected, 5, q.rows())));
  }
}

TEST(CudaAttention, BitsDependOnNothingElseInTheStep) {
  for (const float cap : {0.0f, 5.0f}) {
    AttentionCase c = make_case(DType::bf16, 72, 1, 2, 2);
    c.args.softcap = cap;
    for (const PrefillKernel kernel : prefill_kernels()) check_bits(c, kernel);
  }
  check_bits(make_case(DType::bf16, 64, 2, 2, 4), PrefillKernel::warps);
  // Queries in shared memory.
  const AttentionCase wide = make_case(DType::bf16, 136, 1, 1, 1);
  if (prefill_kernels().size() > 1) check_bits(wide, PrefillKernel::warpgroups);
}

// The keys of an 896-pixel image and a prompt: more than the window of Gemma 2, several pages a split.
TEST(CudaAttention, SequencesLongerThanTheWindow) {
  for (const int64_t window : {0, 100, 4096})
    for (const bool in_prefix : {false, true}) {
      if (window == 0 && in_prefix) continue;
      SCOPED_TRACE("window " + std::to_string(window) + (in_prefix ? ", in the prefix too" : ""));
      AttentionCase c = make_case(DType::bf16, 16, 1, 2, 2);
      c.args.window = window;
      c.args.window_in_prefix = in_prefix;
      check_step(c, {{4115, 4110, 4114}, {4115, 4110, 4109}, {4103, 4103, 4102}}, kOdd, false, 1);
      if (HasFatalFailure()) return;
    }
}

TEST(CudaAttention, NoRowsIsNothing) {
  const AttentionCase c = make_case(DType::bf16, 16, 1, 1, 1);
  Sequence s(c, 3, 3, 1);
  AttentionDevice device(c, {&s});
  const AttentionSpan span = s.span(0, 0, 0);
  device.store({&span, 1}, s.k, s.v);
  EXPECT_EQ(std::bit_cast<uint32_t>(device.attend(span, s.q).at(0, 0)), 0xffffffffu);
  EXPECT_EQ(std::bit_cast<uint32_t>(device.attend(std::span<const AttentionSpan>{}, s.q).at(0, 0)),
            0xffffffffu);
  EXPECT_EQ(std::bit_cast<uint32_t>(device.attend(std::span<const AttentionSpan>{}, s.q, {4, 200}).at(2, 15)),
            0xffffffffu);
}

// More units than a decode's grid has blocks.
TEST(CudaAttention, ManyHeadsOfALongSequence) {
  const AttentionCase c = make_case(DType::bf16, 8, 130, 1, 130);
  check_step(c, {{4115, 4110, 4114}});
}

TEST(CudaAttention, WrongArgumentsAreRefused) {
  const AttentionCase c = make_case(DType::bf16, 16, 1, 2, 2);
  Sequence s(c, 70, 70, 1);
  AttentionDevice device(c, {&s});
  EXPECT_THROW(device.attend({1, 70, 0, 70, s.pages}, s.q), std::logic_error);
  EXPECT_THROW(device.attend(s.span(0, 70, 0), Rows(70, 16)), std::logic_error);
  const AttentionSpan span = s.span(0, 70, 0);
  EXPECT_THROW(device.store({&span, 1}, s.q, s.v), std::logic_error);
  EXPECT_THROW(device.store({&span, 1}, slice(s.k, 0, 69), slice(s.v, 0, 69)), std::logic_error);
  StepTable table(1, 2, 128);
  table.upload(kStream, {&span, 1});
  AttentionScratch scratch(1, 2, 16, 128);
  const DeviceRows q(s.q, DType::f32, 0);
  const auto refused = [&](auto spoil) {
    AttentionArgs args = c.args;
    spoil(args);
    EXPECT_THROW(attention(kStream, scratch, q.tensor(), q.tensor(), nullptr, c.shape, table, args),
                 std::logic_error);
  };
  refused([](AttentionArgs& args) { args.head_offset = 1; });
  refused([](AttentionArgs& args) { args.scale = 0; });
  refused([](AttentionArgs& args) { args.softcap = -1; });
  refused([](AttentionArgs& args) { args.window = -1; });
  refused([](AttentionArgs& args) { args.heads = 0; });
  AttentionScratch small(1, 1, 16, 128);
  const AttentionSpan decode = s.span(0, 1, 69);
  table.upload(kStream, {&decode, 1});
  EXPECT_THROW(attention(kStream, small, q.tensor(), q.tensor(), nullptr, c.shape, table, c.args),
               std::logic_error);
  EXPECT_THROW(page_bytes({1, 257, DType::bf16}), std::logic_error);
  EXPECT_THROW(page_bytes({1, 16, DType::u8}), std::logic_error);
}

}  // namespace
}  // namespace lapidary::cuda
