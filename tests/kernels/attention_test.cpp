#include "tests/kernels/attention_cases.h"

namespace lapidary {
namespace {

class Attention : public KernelTest {
 protected:
  Device device{choice};
  Backend& ops = device.ops;
};

AttentionCase make_case(DType dtype, int64_t head_dim, int64_t kv_heads, int64_t group, int64_t heads,
                        int64_t head_offset = 0) {
  AttentionCase c;
  c.shape = {kv_heads, head_dim, dtype};
  c.args.heads = heads;
  c.args.group = group;
  c.args.head_offset = head_offset;
  c.args.scale = 1 / std::sqrt(static_cast<float>(head_dim));
  return c;
}

constexpr std::array<DType, 2> kCaches{DType::f32, DType::bf16};

/// A ragged step: four sequences with histories of their own, in one call.
void check_ragged_step(Backend& ops, const AttentionCase& c) {
  struct Part {
    int64_t tokens, prefix, position;
  };
  // One token alone; a prefix; a decoded token behind its prefix; several causal rows over a page's edge.
  const std::vector<Part> parts{{1, 1, 0}, {31, 31, 0}, {98, 70, 97}, {131, 33, 125}};
  std::vector<Sequence> sequences;
  uint32_t seed = 1;
  for (const Part& p : parts) sequences.emplace_back(c, p.tokens, p.prefix, seed += 10);
  std::vector<Sequence*> all;
  for (Sequence& s : sequences) all.push_back(&s);
  Pages pages(ops, c.shape, all);

  int64_t rows = 0;
  for (const Part& p : parts) rows += p.tokens - p.position;
  Rows q(rows, c.args.heads * c.shape.head_dim), out = q;
  Rows k(rows, c.shape.kv_heads * c.shape.head_dim), v = k;
  std::vector<AttentionSpan> spans;
  int64_t row = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    Sequence& s = sequences[i];
    const int64_t position = parts[i].position, fresh = s.tokens() - position;
    Rows unused(s.tokens(), q.cols());
    if (position > 0) step(ops, c, pages, s, unused, 0, position);
    spans.push_back(s.span(row, fresh, position));
    const auto take = [&](Rows& to, Rows& from) {
      ops.copy(to.tensor().row_range(row, row + fresh), from.tensor().row_range(position, s.tokens()));
    };
    take(q, s.q);
    take(k, s.k);
    take(v, s.v);
    row += fresh;
  }
  ops.store_kv(pages.data(), c.shape, spans, k.tensor(), v.tensor());
  ops.attention(out.tensor(), q.tensor(), pages.data(), c.shape, spans, c.args);
  ops.synchronize();
  EXPECT_TRUE(out.gaps_untouched());
  for (size_t i = 0; i < parts.size(); ++i) {
    expect_rows(c, sequences[i], out, spans[i].first_row, parts[i].position, sequences[i].tokens());
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST_P(Attention, RaggedStepsOfManyShapes) {
  for (const DType dtype : kCaches) {
    for (const int64_t head_dim : {1, 8, 24, 32, 72, 128, 256}) {
      SCOPED_TRACE(std::string(name_of(dtype)) + ", head_dim " + std::to_string(head_dim));
      check_ragged_step(ops, make_case(dtype, head_dim, 2, 1, 2));
      if (HasFatalFailure()) return;
    }
  }
}

/// All bytes of the pages of a layer.
std::vector<std::byte> bytes_of(Backend& ops, const std::byte* pages, size_t bytes) {
  std::vector<std::byte> result(bytes);
  const auto count = static_cast<int64_t>(bytes);
  ops.copy(view(result.data(), DType::u8, 1, count),
           view(const_cast<std::byte*>(pages), DType::u8, 1, count));
  return result;
}

/// A prefix over a page's edge, some causal rows, and single rows: rope_and_store() against a rotation in
/// double, and its pages against those of rope() and store_kv().
void check_rope_and_store(Backend& ops, DType dtype, int64_t head_dim, int64_t heads, int64_t kv_heads) {
  const KvShape shape{kv_heads, head_dim, dtype};
  const std::vector<std::vector<int32_t>> at{{3, 0}, {1, 6}, {2}, {5, 4}};
  const std::vector<AttentionSpan> spans{
      {0, 67, 0, 67, at[0]}, {67, 3, 63, 5, at[1]}, {70, 1, 9, 4, at[2]}, {71, 1, 64, 64, at[3]}};
  constexpr int64_t kRows = 72, kPositions = 90, kPages = 7;
  std::vector<int32_t> positions;
  for (const AttentionSpan& span : spans)
    for (int64_t r = 0; r < span.rows; ++r) positions.push_back(static_cast<int32_t>(span.position + r + 1));
  Rows table = Rows::random(kPositions, head_dim, 50, 0.5f);
  const int64_t q = heads * head_dim, kv = kv_heads * head_dim;
  const Rows x = Rows::random(kRows, q + 2 * kv, 51);
  Rows y = x, apart = x;
  const size_t bytes = kPages * ops.kv_page_bytes(shape);
  const Buffer pages = ops.allocate(bytes), pages_apart = ops.allocate(bytes);
  ops.rope_and_store(y.tensor(), heads, table.tensor(), positions, pages.get(), shape, spans);
  ops.rope(apart.tensor().col_range(0, q + kv), head_dim, table.tensor(), positions);
  ops.store_kv(pages_apart.get(), shape, spans, apart.tensor().col_range(q, q + kv),
               apart.tensor().col_range(q + kv, q + 2 * kv));
  ops.synchronize();
  EXPECT_EQ(bytes_of(ops, pages.get(), bytes), bytes_of(ops, pages_apart.get(), bytes));
  EXPECT_TRUE(y.gaps_untouched());
  for (int64_t r = 0; r < kRows; ++r) {
    const float* angles = table.row(positions[static_cast<size_t>(r)]);
    for (int64_t c = 0; c < q; ++c) {
      const int64_t j = c % head_dim % (head_dim / 2), lo = c / head_dim * head_dim + j;
      const double a = x.at(r, lo), b = x.at(r, lo + head_dim / 2), cosine = angles[j],
                   sine = angles[head_dim / 2 + j];
      const double want = c == lo ? a * cosine - b * sine : b * cosine + a * sine;
      // Each product and the sum is rounded once.
      const double bound = 3 * kEps * (std::fabs(a) + std::fabs(b)) * (std::fabs(cosine) + std::fabs(sine));
      ASSERT_NEAR(y.at(r, c), want, bound) << "row " << r << ", column " << c;
    }
    for (int64_t c = q + kv; c < q + 2 * kv; ++c) ASSERT_EQ(y.at(r, c), x.at(r, c));
  }
}

TEST_P(Attention, RopeAndStoreIsBothInOne) {
  for (const DType dtype : kCaches) {
    for (const int64_t head_dim : {2, 10, 16, 24, 72, 128, 256}) {
      SCOPED_TRACE(std::string(name_of(dtype)) + ", head_dim " + std::to_string(head_dim));
      check_rope_and_store(ops, dtype, head_dim, 2, 1);
      if (HasFatalFailure()) return;
    }
    check_rope_and_store(ops, dtype, 16, 3, 3);
    check_rope_and_store(ops, dtype, 16, 1, 2);
  }
  const KvShape shape{1, 16, DType::f32};
  Rows qkv(1, 48), table(4, 16);
  const Buffer pages = ops.allocate(ops.kv_page_bytes(shape));
  const std::vector<int32_t> page{0}, inside{3}, outside{4};
  const AttentionSpan span{0, 1, 0, 1, page}, beyond{1, 1, 0, 1, page};
  const auto run = [&](int64_t heads, std::span<const int32_t> positions, const AttentionSpan& one) {
    ops.rope_and_store(qkv.tensor(), heads, table.tensor(), positions, pages.get(), shape, {&one, 1});
    ops.synchronize();
  };
  EXPECT_NO_THROW(run(1, inside, span));
  EXPECT_THROW(run(2, inside, span), std::logic_error);
  EXPECT_THROW(run(1, outside, span), std::logic_error);
  EXPECT_THROW(run(1, inside, beyond), std::logic_error);
}

TEST_P(Attention, GroupsAlsoCutByRanks) {
  for (const DType dtype : kCaches) {
    check_ragged_step(ops, make_case(dtype, 24, 2, 2, 4));
    check_ragged_step(ops, make_case(dtype, 24, 2, 3, 6));
    check_ragged_step(ops, make_case(dtype, 24, 2, 3, 3, 2));  // the last head of one group, two of the next
    check_ragged_step(ops, make_case(dtype, 24, 1, 4, 1, 3));  // a KV head that this rank shares with others
    if (HasFatalFailure()) return;
  }
}

TEST_P(Attention, SoftcapComesBeforeTheMask) {
  for (const DType dtype : kCaches) {
    AttentionCase c = make_case(dtype, 32, 2, 2, 4);
    c.args.softcap = 1.5f;
    c.args.window = 20;
    check_ragged_step(ops, c);
    if (HasFatalFailure()) return;
  }
}

TEST_P(Attention, WindowsOfBothPolicies) {
  for (const DType dtype : kCaches) {
    for (const bool in_prefix : {false, true}) {
      for (const int64_t window : {1, 20, 64, 100}) {
        SCOPED_TRACE("window " + std::to_string(window) + (in_prefix ? ", in the prefix too" : ""));
        AttentionCase c = make_case(dtype, 16, 1, 2, 2);
        c.args.window = window;
        c.args.window_in_prefix = in_prefix;
        check_ragged_step(ops, c);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(Attention, LargeScoresNeitherOverflowNorVanish) {
  AttentionCase c = make_case(DType::f32, 8, 1, 1, 1);
  c.args.scale = 60;
  Sequence s(c, 130, 130, 5);
  Pages pages(ops, c.shape, {&s});
  Rows out(130, 8);
  step(ops, c, pages, s, out, 0, 130);
  expect_rows(c, s, out, 0, 0, 130);
}

/// One sequence: its prefix, then two rows at once, then the rest a token at a time.
Rows by_steps(Backend& ops, const AttentionCase& c, Sequence& s) {
  Pages pages(ops, c.shape, {&s});
  Rows out(s.tokens(), c.args.heads * c.shape.head_dim);
  step(ops, c, pages, s, out, 0, s.prefix);
  step(ops, c, pages, s, out, s.prefix, s.prefix + 2);
  for (int64_t t = s.prefix + 2; t < s.tokens(); ++t) step(ops, c, pages, s, out, t, t + 1);
  return out;
}

Rows at_once(Backend& ops, const AttentionCase& c, Sequence& s) {
  Pages pages(ops, c.shape, {&s});
  Rows out(s.tokens(), c.args.heads * c.shape.head_dim);
  step(ops, c, pages, s, out, 0, s.tokens());
  return out;
}

TEST_P(Attention, BitsDependNeitherOnStepsNorOnThreads) {
  for (const DType dtype : kCaches) {
    for (const int64_t window : {0, 50}) {
      for (const int64_t head_dim : {24, 72, 128}) {
        SCOPED_TRACE(std::string(name_of(dtype)) + ", window " + std::to_string(window));
        AttentionCase c = make_case(dtype, head_dim, 2, 2, 4);
        c.args.window = window;
        c.args.softcap = window > 0 ? 5.0f : 0.0f;
        Sequence s(c, 150, 131, 3);
        const Rows whole = at_once(ops, c, s);
        const Rows steps = by_steps(ops, c, s);
        if (choice.decodes_apart)
          expect_rows(c, s, steps, 0, 0, s.tokens());
        else
          EXPECT_TRUE(steps.same_bits(whole));
        for (const int threads : {1, 3}) {
          Device other(choice, threads);
          EXPECT_TRUE(at_once(other.ops, c, s).same_bits(whole)) << threads;
          EXPECT_TRUE(by_steps(other.ops, c, s).same_bits(steps)) << threads;
        }
      }
    }
  }
}

// The keys of an 896-pixel image and a prompt: more than the window of Gemma 2.
TEST_P(Attention, ARowOfAPrefixLongerThanTheWindow) {
  if (choice.slow) GTEST_SKIP() << "takes long in software";
  AttentionCase c = make_case(DType::bf16, 16, 1, 1, 1);
  c.args.window = 4096;
  for (const bool in_prefix : {false, true}) {
    c.args.window_in_prefix = in_prefix;
    Sequence s(c, 4112, 4110, 9);
    Pages pages(ops, c.shape, {&s});
    Rows out(4112, 16), alone(4112, 16);
    step(ops, c, pages, s, out, 0, 4112);
    for (const int64_t t : {0, 100, 4095, 4100, 4109, 4110, 4111}) {
      const AttentionSpan span = s.span(0, 1, t);
      ops.attention(alone.tensor_of_row(t), s.q.tensor_of_row(t), pages.data(), c.shape, {&span, 1}, c.args);
      ops.synchronize();
      if (choice.decodes_apart)
        expect_rows(c, s, alone, t, t, t + 1);
      else
        EXPECT_EQ(std::memcmp(alone.row(t), out.row(t), 16 * sizeof(float)), 0) << t;
    }
    expect_rows(c, s, out, 4100, 4100, 4112);
    if (HasFatalFailure()) return;
  }
}

TEST_P(Attention, PagesAreFreshForTheNextSequence) {
  for (const DType dtype : kCaches) {
    const AttentionCase c = make_case(dtype, 24, 1, 1, 1);
    Sequence s(c, 67, 5, 11);
    Sequence broken(c, 128, 128, 12);
    for (int64_t t = 0; t < 128; ++t) {
      for (int64_t n = 0; n < 24; ++n) broken.v.at(t, n) = broken.k.at(t, n) = NAN;
    }
    Pages pages(ops, c.shape, {&s});
    broken.pages = s.pages;
    Rows unused(128, 24), out(67, 24);
    step(ops, c, pages, broken, unused, 0, 128);
    step(ops, c, pages, s, out, 0, 5);
    for (int64_t t = 5; t < 67; ++t) step(ops, c, pages, s, out, t, t + 1);
    expect_rows(c, s, out, 0, 0, 67);
    if (HasFatalFailure()) return;
  }
}

TEST_P(Attention, NoRowsIsNothing) {
  const AttentionCase c = make_case(DType::f32, 8, 1, 1, 1);
  Sequence s(c, 3, 3, 1);
  Pages pages(ops, c.shape, {&s});
  Rows out(3, 8, 2);
  const AttentionSpan span = s.span(0, 0, 0);
  ops.store_kv(pages.data(), c.shape, {&span, 1}, s.k.tensor(), s.v.tensor());
  ops.attention(out.tensor(), s.q.tensor(), pages.data(), c.shape, {&span, 1}, c.args);
  ops.attention(out.tensor(), s.q.tensor(), pages.data(), c.shape, {}, c.args);
  ops.synchronize();
  EXPECT_EQ(out.at(0, 0), 2);
}

TEST_P(Attention, WrongArgumentsAreRefused) {
  const AttentionCase c = make_case(DType::f32, 8, 1, 2, 2);
  Sequence s(c, 70, 70, 1);
  Pages pages(ops, c.shape, {&s});
  Rows out(70, 16);
  const auto run = [&](const AttentionSpan& span, AttentionArgs args) {
    ops.attention(out.tensor(), s.q.tensor(), pages.data(), c.shape, {&span, 1}, args);
  };
  EXPECT_THROW(run({0, 71, 0, 70, s.pages}, c.args), std::logic_error);
  EXPECT_THROW(run({0, 70, 60, 70, s.pages}, c.args), std::logic_error);
  EXPECT_THROW(run({0, 3, 0, 129, s.pages}, c.args), std::logic_error);
  AttentionArgs args = c.args;
  args.head_offset = 1;
  EXPECT_THROW(run(s.span(0, 70, 0), args), std::logic_error);
  args = c.args;
  args.scale = 0;
  EXPECT_THROW(run(s.span(0, 70, 0), args), std::logic_error);
  const AttentionSpan span = s.span(0, 70, 0);
  EXPECT_THROW(ops.store_kv(pages.data(), c.shape, {&span, 1}, s.q.tensor(), s.v.tensor()), std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Device, Attention, testing::ValuesIn(tested_devices()), kTestNameOfDevice);

}  // namespace
}  // namespace lapidary
