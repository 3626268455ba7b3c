#include "tests/kernels/cuda/activations.h"

#include <array>
#include <functional>

// Operations on activations of bfloat16 and on rows that are aligned or not. What they compute in float32 is
// tested in row_ops_test.cpp; here the same in every other form.

namespace lapidary {
namespace {

constexpr std::array<DType, 2> kTypes{DType::f32, DType::bf16};
constexpr std::array<int64_t, 8> kWidths{1, 4, 7, 8, 24, 33, 1152, 2310};

class ActivationForms : public KernelTest {
 protected:
  Device device{choice};
  Backend& ops = device.ops;
};

struct Form {
  DType y, x;
  bool aligned;
};
constexpr std::array<Form, 8> kForms{{{DType::f32, DType::f32, true},
                                      {DType::f32, DType::f32, false},
                                      {DType::f32, DType::bf16, true},
                                      {DType::f32, DType::bf16, false},
                                      {DType::bf16, DType::f32, true},
                                      {DType::bf16, DType::f32, false},
                                      {DType::bf16, DType::bf16, true},
                                      {DType::bf16, DType::bf16, false}}};

float rounded(DType dtype, float value) { return dtype == DType::bf16 ? from_bf16(to_bf16(value)) : value; }

/// How far a result may be from the rounded one: relative to it, and at all.
struct Tolerance {
  double relative = 0, absolute = 0;
};

void expect_rounded(const Activations& got, const Activations& want, DType dtype, Tolerance tolerance) {
  const Tensor shape = want.tensor();
  for (int64_t r = 0; r < shape.rows(); ++r) {
    for (int64_t c = 0; c < shape.cols(); ++c) {
      const float expected = rounded(dtype, want.at(r, c));
      const double most = tolerance.relative * std::fabs(expected) + tolerance.absolute;
      ASSERT_NEAR(got.at(r, c), expected, most) << shape.cols() << ": " << c;
    }
  }
  EXPECT_TRUE(got.gaps_untouched());
}

/// Runs y = operation(x) in float32 on aligned rows and in all other forms. Both have the same numbers in x;
/// y begins as random numbers. widths: columns of x for one of y.
void check_forms(Backend& ops, int64_t widths, Tolerance tolerance,
                 const std::function<void(Tensor y, Tensor x)>& operation) {
  for (const int64_t width : kWidths) {
    const auto x = Activations::random(DType::bf16, 3, widths * width, true, 1);
    const auto y = Activations::random(DType::bf16, 3, width, true, 2);
    const Activations plain_x = x.as(DType::f32, true), plain = y.as(DType::f32, true);
    operation(plain.tensor(), plain_x.tensor());
    for (const Form& form : kForms) {
      SCOPED_TRACE(std::string(name_of(form.y)) + " of " + name_of(form.x) +
                   (form.aligned ? ", aligned" : ""));
      const Activations other_x = x.as(form.x, form.aligned), other = y.as(form.y, form.aligned);
      operation(other.tensor(), other_x.tensor());
      ops.synchronize();
      expect_rounded(other, plain, form.y, tolerance);
      EXPECT_TRUE(other_x.gaps_untouched());
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST_P(ActivationForms, ElementsAreRoundedFromTheSameFloats) {
  const Floats bias(Floats(2400, 0.3f));
  check_forms(ops, 1, {}, [&](Tensor y, Tensor x) { ops.add(y, x); });
  check_forms(ops, 2, {}, [&](Tensor y, Tensor x) { ops.gelu_mul(y, x); });
  check_forms(ops, 1, {}, [&](Tensor y, Tensor x) { ops.copy(y, x); });
  check_forms(ops, 1, {}, [&](Tensor y, Tensor) { ops.gelu(y); });
  check_forms(ops, 1, {}, [&](Tensor y, Tensor) { ops.scale(y, 1.7f); });
  check_forms(ops, 1, {}, [&](Tensor y, Tensor) { ops.softcap(y, 3); });
  check_forms(ops, 1, {}, [&](Tensor y, Tensor) { ops.add_bias(y, bias.data()); });
  check_forms(ops, 1, {}, [&](Tensor y, Tensor) { ops.add_bias(y, bias.data() + 1); });
}

// Eight elements of bfloat16 are taken at a time and four of float32: the sums differ in their order, by a
// few roundings of float32. That may turn one rounding to bfloat16, which is 2^-8 apart at most; where terms
// of up to 30 cancel, it is some 2^-24 of those.
constexpr Tolerance kOneRounding{0x1p-8, 10 * 30 * 0x1p-24};

TEST_P(ActivationForms, NormsAreRoundedOnce) {
  Rows gain = Rows::random(1, 2400, 3), bias = Rows::random(1, 2400, 4);
  for (const int64_t shift : {0, 1}) {
    const float *g = gain.row(0) + shift, *b = bias.row(0) + shift;
    check_forms(ops, 1, kOneRounding, [&](Tensor y, Tensor x) { ops.rms_norm(y, x, g, 1e-6f); });
    check_forms(ops, 1, kOneRounding, [&](Tensor y, Tensor x) { ops.layer_norm(y, x, g, b, 1e-6f); });
    check_forms(ops, 1, kOneRounding, [&](Tensor y, Tensor) { ops.rms_norm(y, y, g, 1e-6f); });
    check_forms(ops, 1, kOneRounding, [&](Tensor y, Tensor) { ops.layer_norm(y, y, g, b, 1e-6f); });
  }
}

// x stays float32; y is in the form of the operation's x, and h in that of its y.
TEST_P(ActivationForms, NormsOfAResidualStreamAreRoundedOnce) {
  Rows post = Rows::random(1, 2400, 3), pre = Rows::random(1, 2400, 4);
  for (const int64_t shift : {0, 1}) {
    check_forms(ops, 1, kOneRounding, [&](Tensor h, Tensor y) {
      const auto x = Activations::random(DType::f32, y.rows(), y.cols(), y.stride % 16 == 0, 5);
      ops.add_rms_norm({h, x.tensor(), y, post.row(0) + shift, pre.row(0) + shift, 1e-6f});
      ops.synchronize();
      EXPECT_TRUE(x.gaps_untouched());
    });
  }
}

std::vector<std::byte> bytes_of(Backend& ops, const Buffer& memory, int64_t bytes) {
  std::vector<std::byte> result(static_cast<size_t>(bytes));
  ops.copy(view(result.data(), DType::u8, 1, bytes), view(memory.get(), DType::u8, 1, bytes));
  return result;
}

TEST_P(ActivationForms, RopeAndStoreOfBothTypes) {
  const std::vector<int32_t> page{0}, positions{4, 0, 2};
  const AttentionSpan span{0, 3, 5, 3, page};
  for (const int64_t head_dim : {2, 10, 16, 72, 256}) {
    Rows table = Rows::random(5, head_dim, 5, 0.7f);
    const Activations dense = Activations::random(DType::f32, 5, head_dim, true, 7);
    ops.copy(dense.tensor(), table.tensor());
    const KvShape shape{1, head_dim, DType::bf16};
    const auto bytes = static_cast<int64_t>(ops.kv_page_bytes(shape));
    const auto x = Activations::random(DType::bf16, 3, 4 * head_dim, true, 6);
    const Activations plain = x.as(DType::f32, true);
    const Buffer kept = ops.allocate(static_cast<size_t>(bytes));
    ops.rope_and_store(plain.tensor(), 2, dense.tensor(), positions, kept.get(), shape, {&span, 1});
    for (const DType dtype : kTypes) {
      for (const bool aligned : {true, false}) {
        const Activations other = x.as(dtype, aligned);
        const Buffer pages = ops.allocate(static_cast<size_t>(bytes));
        ops.rope_and_store(other.tensor(), 2, aligned ? dense.tensor() : table.tensor(), positions,
                           pages.get(), shape, {&span, 1});
        ops.synchronize();
        for (int64_t r = 0; r < 3; ++r)  // k is left as it is
          for (int64_t c = 0; c < 2 * head_dim; ++c)
            ASSERT_EQ(other.at(r, c), rounded(dtype, plain.at(r, c))) << head_dim << ": " << c;
        EXPECT_TRUE(other.gaps_untouched());
        EXPECT_EQ(bytes_of(ops, pages, bytes), bytes_of(ops, kept, bytes)) << head_dim;
      }
    }
  }
}

TEST_P(ActivationForms, RopeTurnsBothTypes) {
  for (const int64_t head_dim : {2, 10, 16, 72, 256}) {
    Rows table = Rows::random(5, head_dim, 5, 0.7f);
    const std::vector<int32_t> positions{4, 0, 2};
    const auto x = Activations::random(DType::bf16, 3, 3 * head_dim, true, 6);
    const Activations plain = x.as(DType::f32, true);
    ops.rope(plain.tensor(), head_dim, table.tensor(), positions);
    const Activations dense = Activations::random(DType::f32, 5, head_dim, true, 7);
    ops.copy(dense.tensor(), table.tensor());
    for (const DType dtype : kTypes) {
      for (const bool aligned : {true, false}) {
        const Activations other = x.as(dtype, aligned);
        ops.rope(other.tensor(), head_dim, aligned ? dense.tensor() : table.tensor(), positions);
        ops.synchronize();
        expect_rounded(other, plain, dtype, {});
      }
    }
  }
}

TEST_P(ActivationForms, EmbedGivesBothTypes) {
  for (const int64_t width : kWidths) {
    Rows table = Rows::random(20, width, 8);
    for (const DType stored : kTypes) {
      Matrix w = ops.make_matrix(20, width, stored, SumPlan::whole(width));
      ops.pack(w, 0, table.tensor());
      const std::vector<int32_t> ids{3, 19, 20, -1};
      for (const DType dtype : kTypes) {
        for (const bool aligned : {true, false}) {
          const auto y = Activations::random(dtype, 4, width, aligned, 9);
          ops.embed(y.tensor(), w, ids, {}, 0, 3);
          ops.synchronize();
          for (int64_t r = 0; r < 4; ++r)
            for (int64_t c = 0; c < width; ++c)
              ASSERT_EQ(y.at(r, c),
                        r < 2 ? rounded(dtype, 3 * rounded(stored, table.at(ids[static_cast<size_t>(r)], c)))
                              : 0.0f);
          EXPECT_TRUE(y.gaps_untouched());
        }
      }
    }
  }
}

// More pixels than go to the device at once.
TEST_P(ActivationForms, PatchifyOfALargeImage) {
  std::vector<float> value_of(256);
  for (size_t i = 0; i < 256; ++i) value_of[i] = static_cast<float>(i) / 127.5f - 1;
  constexpr int64_t kSize = 602, kPatch = 14, kGrid = kSize / kPatch;
  std::vector<uint8_t> rgb(kSize * kSize * 3);
  for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<uint8_t>((i * 7919 >> 3) ^ (i >> 13));
  for (const Form& form : {kForms[1], kForms[6]}) {
    const Activations y(form.y, kGrid * kGrid, 3 * kPatch * kPatch, form.aligned);
    ops.patchify(y.tensor(), rgb.data(), kSize, kPatch, value_of.data());
    ops.synchronize();
    for (int64_t r = 0; r < kGrid * kGrid; ++r) {
      for (int64_t c = 0; c < 3 * kPatch * kPatch; ++c) {
        const int64_t channel = c / (kPatch * kPatch), ky = c / kPatch % kPatch, kx = c % kPatch;
        const int64_t py = r / kGrid * kPatch + ky, px = r % kGrid * kPatch + kx;
        ASSERT_EQ(y.at(r, c),
                  rounded(form.y, value_of[rgb[static_cast<size_t>((py * kSize + px) * 3 + channel)]]));
      }
    }
    EXPECT_TRUE(y.gaps_untouched());
  }
}

TEST_P(ActivationForms, OverlappingRowsAndOtherTypesAreRefused) {
  const auto x = Activations::random(DType::f32, 4, 8, true, 1);
  Tensor overlapping = x.tensor(), whole_numbers = x.tensor();
  overlapping.stride = 7;
  whole_numbers.dtype = DType::i32;
  for (const Tensor wrong : {overlapping, whole_numbers}) {
    EXPECT_THROW(ops.add(x.tensor(), wrong), std::logic_error);
    EXPECT_THROW(ops.gelu(wrong), std::logic_error);
    EXPECT_THROW(ops.rms_norm(x.tensor(), wrong, nullptr, 0), std::logic_error);
  }
  const SamplingParams draw{1, 1, 1};
  EXPECT_THROW(ops.add_gumbel_noise(x.as(DType::bf16, true).tensor(), 0, {&draw, 1}), std::logic_error);
  EXPECT_THROW(ops.top_k(x.as(DType::bf16, true).tensor(), 0, 1), std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Device, ActivationForms, testing::ValuesIn(tested_devices()), kTestNameOfDevice);

}  // namespace
}  // namespace lapidary
