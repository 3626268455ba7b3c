#include <algorithm>
#include <functional>
#include <numeric>

#include "tests/kernels/kernel_test.h"

namespace lapidary {
namespace {

constexpr std::array<int64_t, 11> kWidths{1, 2, 15, 16, 17, 31, 33, 64, 130, 1152, 2304};

class RowOps : public KernelTest {
 protected:
  Device device{choice};
  Backend& ops = device.ops;
};

/// x (1 + tanh(u)) / 2, where 1 + tanh(u) = 2 / (1 + exp(-2u)) keeps its digits for large negative x.
double gelu(double x) { return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

/// exp(u) enters with the error of u, which is |u| times that of its terms; the rest is a handful of
/// roundings.
double gelu_bound(double x) {
  const double u = 2 * std::sqrt(2 / M_PI) * std::fabs(x + 0.044715 * x * x * x);
  return (10 + 4 * u) * kEps * std::fabs(gelu(x)) + 1e-37;
}

/// A sum of n terms of one sign in at least 64 partial sums (or one a term, where there are fewer), a tree of
/// up to ten levels, and a few operations behind it.
double sum_bound(int64_t n) { return (static_cast<double>(n) / 64 + 16) * kEps; }

TEST_P(RowOps, RmsNorm) {
  for (const int64_t n : kWidths) {
    Rows x = Rows::random(3, n, 1, 4);
    Rows gain = Rows::random(1, n, 2);
    Rows y(3, n);
    ops.rms_norm(y.tensor(), x.tensor(), gain.row(0), 1e-6f);
    ops.synchronize();
    for (int64_t r = 0; r < 3; ++r) {
      double squares = 0;
      for (int64_t c = 0; c < n; ++c) squares += double{x.at(r, c)} * x.at(r, c);
      const double inverse = 1 / std::sqrt(squares / static_cast<double>(n) + double{1e-6f});
      for (int64_t c = 0; c < n; ++c) {
        const double want = x.at(r, c) * inverse * (1 + double{gain.at(0, c)});
        ASSERT_NEAR(y.at(r, c), want, sum_bound(n) * std::fabs(want)) << n << " " << c;
      }
    }
    EXPECT_TRUE(y.gaps_untouched());
  }
}

TEST_P(RowOps, LayerNorm) {
  for (const int64_t n : kWidths) {
    Rows x = Rows::random(3, n, 3, 4);
    Rows gain = Rows::random(1, n, 4);
    Rows bias = Rows::random(1, n, 5);
    Rows y(3, n);
    ops.layer_norm(y.tensor(), x.tensor(), gain.row(0), bias.row(0), 1e-6f);
    ops.synchronize();
    for (int64_t r = 0; r < 3; ++r) {
      double mean = 0, variance = 0, largest = 0;
      for (int64_t c = 0; c < n; ++c) mean += x.at(r, c) / static_cast<double>(n);
      for (int64_t c = 0; c < n; ++c) {
        variance += std::pow(x.at(r, c) - mean, 2) / static_cast<double>(n);
        largest = std::max(largest, std::fabs(double{x.at(r, c)}));
      }
      const double inverse = 1 / std::sqrt(variance + double{1e-6f});
      for (int64_t c = 0; c < n; ++c) {
        const double scaled = (x.at(r, c) - mean) * inverse * gain.at(0, c);
        const double want = scaled + bias.at(0, c);
        // x - mean carries the error of the mean, which is relative to the largest x.
        const double terms =
            largest * inverse * std::fabs(gain.at(0, c)) + std::fabs(scaled) + std::fabs(want);
        ASSERT_NEAR(y.at(r, c), want, sum_bound(n) * terms) << n << " " << c;
      }
    }
    EXPECT_TRUE(y.gaps_untouched());
  }
}

/// What rms_norm and layer_norm are in double.
std::vector<double> rms_normed(const std::vector<double>& x, const float* gain) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  const double inverse = 1 / std::sqrt(squares / static_cast<double>(x.size()) + double{1e-6f});
  std::vector<double> y(x.size());
  for (size_t c = 0; c < x.size(); ++c) y[c] = x[c] * inverse * (1 + double{gain[c]});
  return y;
}

// The last width is more than a block of a GPU holds in its registers.
constexpr std::array<int64_t, 9> kStreamWidths{1, 3, 16, 33, 130, 1152, 2306, 4608, 8200};

TEST_P(RowOps, AddRmsNormIsTheEndOfOneBlockAndTheBeginningOfTheNext) {
  for (const int64_t n : kStreamWidths) {
    const Rows x = Rows::random(3, n, 30, 4), y = Rows::random(3, n, 31, 2);
    const Rows post = Rows::random(1, n, 32), pre = Rows::random(1, n, 33);
    Rows stream = x, sum = y, h(3, n), last = x, unused(3, n, 7), lost = y;
    ops.add_rms_norm({h.tensor(), stream.tensor(), sum.tensor(), post.row(0), pre.row(0), 1e-6f});
    ops.add_rms_norm({unused.tensor(), last.tensor(), lost.tensor(), post.row(0), nullptr, 1e-6f});
    ops.synchronize();
    for (int64_t r = 0; r < 3; ++r) {
      const std::vector<double> normed = rms_normed({y.row(r), y.row(r) + n}, post.row(0));
      std::vector<double> want(static_cast<size_t>(n)), terms(want.size());
      for (size_t c = 0; c < want.size(); ++c) {
        want[c] = x.row(r)[c] + normed[c];
        terms[c] = std::fabs(x.row(r)[c]) + std::fabs(normed[c]);  // they may cancel
        ASSERT_NEAR(stream.row(r)[c], want[c], sum_bound(n) * terms[c]) << n << " " << c;
        ASSERT_EQ(last.row(r)[c], stream.row(r)[c]);
        ASSERT_EQ(unused.row(r)[c], 7);
      }
      const std::vector<double> want_h = rms_normed(want, pre.row(0));
      const std::vector<double> terms_h = rms_normed(terms, pre.row(0));
      double scale = 0;  // what the norm multiplies by, of the true row over that of the terms
      for (size_t c = 0; c < want.size(); ++c)
        if (want[c] != 0 && terms_h[c] != 0)
          scale = std::max(scale, want_h[c] / want[c] / (terms_h[c] / terms[c]));
      for (size_t c = 0; c < want.size(); ++c)
        ASSERT_NEAR(h.row(r)[c], want_h[c], 3 * sum_bound(n) * std::fabs(terms_h[c]) * scale)
            << n << " " << c;
    }
    EXPECT_TRUE(stream.gaps_untouched() && h.gaps_untouched() && unused.gaps_untouched());
  }
}

TEST_P(RowOps, AddAndScaleAreExact) {
  for (const int64_t n : kWidths) {
    const Rows x = Rows::random(3, n, 6);
    Rows y = Rows::random(3, n, 7);
    Rows sum = x, biased = x, scaled = x;
    ops.add(sum.tensor(), y.tensor());
    ops.add_bias(biased.tensor(), y.row(0));
    ops.scale(scaled.tensor(), -1.7f);
    ops.synchronize();
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < n; ++c) {
        ASSERT_EQ(sum.at(r, c), x.at(r, c) + y.at(r, c));
        ASSERT_EQ(biased.at(r, c), x.at(r, c) + y.at(0, c));
        ASSERT_EQ(scaled.at(r, c), x.at(r, c) * -1.7f);
      }
    }
    EXPECT_TRUE(sum.gaps_untouched() && biased.gaps_untouched() && scaled.gaps_untouched());
  }
}

TEST_P(RowOps, GeluAndGeluMul) {
  for (const int64_t n : kWidths) {
    const Rows x = Rows::random(3, n, 8, 3);
    Rows y = x;
    ops.gelu(y.tensor());
    Rows gate_up = Rows::random(3, 2 * n, 9, 3);
    Rows product(3, n);
    ops.gelu_mul(product.tensor(), gate_up.tensor());
    ops.synchronize();
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < n; ++c) {
        ASSERT_NEAR(y.at(r, c), gelu(x.at(r, c)), gelu_bound(x.at(r, c))) << x.at(r, c);
        const double gate = gate_up.at(r, c), up = gate_up.at(r, n + c), want = gelu(gate) * up;
        ASSERT_NEAR(product.at(r, c), want, gelu_bound(gate) * std::fabs(up) + kEps * std::fabs(want));
      }
    }
    EXPECT_TRUE(y.gaps_untouched() && product.gaps_untouched());
  }
  Rows ends(1, 4);
  for (int64_t c = 0; c < 4; ++c)
    ends.at(0, c) = std::array<float, 4>{-1e20f, -30.0f, 30.0f, 1e20f}[static_cast<size_t>(c)];
  ops.gelu(ends.tensor());
  ops.synchronize();
  EXPECT_NEAR(ends.at(0, 0), 0, 1e-17);
  EXPECT_NEAR(ends.at(0, 1), 0, 1e-30);
  EXPECT_EQ(ends.at(0, 2), 30.0f);
  EXPECT_EQ(ends.at(0, 3), 1e20f);
}

TEST_P(RowOps, Rope) {
  for (const int64_t head_dim : {2, 8, 24, 32, 72, 128, 256}) {
    constexpr int64_t kHeads = 3, kPositions = 11;
    const std::vector<int32_t> positions{10, 0, 3};
    Rows table = Rows::random(kPositions, head_dim, 10, 0.5f);
    const Rows x = Rows::random(3, kHeads * head_dim, 11);
    Rows y = x;
    ops.rope(y.tensor(), head_dim, table.tensor(), positions);
    ops.synchronize();
    for (int64_t r = 0; r < 3; ++r) {
      const float* angles = table.row(positions[static_cast<size_t>(r)]);
      for (int64_t h = 0; h < kHeads; ++h) {
        for (int64_t j = 0; j < head_dim / 2; ++j) {
          const int64_t lo = h * head_dim + j, hi = lo + head_dim / 2;
          const double a = x.at(r, lo), b = x.at(r, hi), c = angles[j], s = angles[head_dim / 2 + j];
          // Each product and the sum is rounded once.
          const double bound = 3 * kEps * (std::fabs(a) + std::fabs(b)) * (std::fabs(c) + std::fabs(s));
          ASSERT_NEAR(y.at(r, lo), a * c - b * s, bound);
          ASSERT_NEAR(y.at(r, hi), b * c + a * s, bound);
        }
      }
    }
    EXPECT_TRUE(y.gaps_untouched());
  }
}

TEST_P(RowOps, Softcap) {
  const Rows x = Rows::random(3, 1000, 12, 40);
  Rows y = x;
  ops.softcap(y.tensor(), 30);
  ops.synchronize();
  for (int64_t r = 0; r < 3; ++r) {
    for (int64_t c = 0; c < x.cols(); ++c) {
      const double want = 30 * std::tanh(x.at(r, c) / 30.0);
      ASSERT_NEAR(y.at(r, c), want, 10 * kEps * std::fabs(want));  // tanh: 4 ulp, and two roundings
    }
  }
}

TEST_P(RowOps, PatchifyIsExact) {
  std::vector<float> value_of(256);
  for (size_t i = 0; i < 256; ++i) value_of[i] = static_cast<float>(i) / 127.5f - 1;
  constexpr int64_t kPatch = 14, kGrid = 3;
  for (const int64_t size :
       {kGrid * kPatch, kGrid * kPatch + 1, kGrid * kPatch + 13}) {  // what is over is cut
    std::vector<uint8_t> rgb(static_cast<size_t>(size * size * 3));
    for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<uint8_t>(i * 7919 >> 3);
    Rows y(kGrid * kGrid, 3 * kPatch * kPatch);
    ops.patchify(y.tensor(), rgb.data(), size, kPatch, value_of.data());
    ops.synchronize();
    for (int64_t r = 0; r < y.rows(); ++r) {
      for (int64_t c = 0; c < y.cols(); ++c) {
        const int64_t channel = c / (kPatch * kPatch), ky = c / kPatch % kPatch, kx = c % kPatch;
        const int64_t py = r / kGrid * kPatch + ky, px = r % kGrid * kPatch + kx;
        ASSERT_EQ(y.at(r, c), value_of[rgb[static_cast<size_t>((py * size + px) * 3 + channel)]]);
      }
    }
    EXPECT_TRUE(y.gaps_untouched());
  }
}

TEST_P(RowOps, EmbedGivesRowsTimesFactorAndZerosElsewhere) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    constexpr int64_t kRows = 37, kFirst = 100;
    for (const int64_t n : {1, 33, 130}) {
      Rows table = Rows::random(kRows, n, 13);
      table.at(4, 0) = -0.0f;
      Matrix w = ops.make_matrix(kRows, n, dtype, SumPlan::whole(n));
      ops.pack(w, 0, table.tensor());
      const std::vector<int32_t> ids{104, 99, 100, 136, 137, 0, 136};
      Rows y(static_cast<int64_t>(ids.size()), n, 7);
      ops.embed(y.tensor(), w, ids, {}, kFirst, 59.75f);
      ops.synchronize();
      for (int64_t r = 0; r < y.rows(); ++r) {
        const int64_t row = ids[static_cast<size_t>(r)] - kFirst;
        for (int64_t c = 0; c < n; ++c) {
          float want = row >= 0 && row < kRows ? table.at(row, c) : 0.0f;
          if (dtype == DType::bf16) want = from_bf16(to_bf16(want));
          ASSERT_EQ(y.at(r, c), want * 59.75f);
          ASSERT_FALSE(y.at(r, c) == 0 && std::signbit(y.at(r, c)));  // ranks add these rows up
        }
      }
      EXPECT_TRUE(y.gaps_untouched());
    }
  }
}

TEST_P(RowOps, CopyTakesAnyTypeAndStride) {
  Rows from = Rows::random(9, 40, 14);
  Rows to(9, 30, 1);
  ops.copy(to.tensor(), from.tensor().col_range(3, 33));
  ops.synchronize();
  for (int64_t r = 0; r < 9; ++r) {
    for (int64_t c = 0; c < 30; ++c) ASSERT_EQ(to.at(r, c), from.at(r, c + 3));
  }
  EXPECT_TRUE(to.gaps_untouched());
  std::vector<uint16_t> a(21), b(21);
  std::iota(a.begin(), a.end(), uint16_t{1});
  ops.copy(view(b.data(), DType::bf16, 3, 7), view(a.data(), DType::bf16, 3, 7));
  EXPECT_EQ(a, b);
}

TEST_P(RowOps, NoRowsIsNothing) {
  Rows x(0, 33), y(0, 33), gate_up(0, 66), table(1, 32);
  const Rows gain(1, 33);
  ops.rms_norm(y.tensor(), x.tensor(), gain.row(0), 1e-6f);
  ops.layer_norm(y.tensor(), x.tensor(), gain.row(0), gain.row(0), 1e-6f);
  ops.add(y.tensor(), x.tensor());
  ops.gelu_mul(y.tensor(), gate_up.tensor());
  ops.copy(y.tensor(), x.tensor());
  ops.synchronize();
}

TEST_P(RowOps, WrongShapesAreRefused) {
  Rows x(2, 32), y(2, 31), table(4, 16);
  const std::vector<int32_t> outside{0, 4}, one{0};
  EXPECT_THROW(ops.rms_norm(y.tensor(), x.tensor(), x.row(0), 1e-6f), std::logic_error);
  EXPECT_THROW(ops.layer_norm(y.tensor(), x.tensor(), x.row(0), x.row(0), 1e-6f), std::logic_error);
  EXPECT_THROW(ops.add(x.tensor(), y.tensor()), std::logic_error);
  EXPECT_THROW(ops.gelu_mul(y.tensor(), x.tensor()), std::logic_error);
  EXPECT_THROW(ops.copy(x.tensor(), y.tensor()), std::logic_error);
  EXPECT_THROW(ops.softcap(x.tensor(), 0), std::logic_error);
  EXPECT_THROW(ops.add_rms_norm({x.tensor(), x.tensor(), y.tensor(), x.row(0), nullptr, 0}),
               std::logic_error);
  EXPECT_THROW(ops.rope(x.tensor(), 16, table.tensor(), outside), std::logic_error);
  EXPECT_THROW(ops.rope(x.tensor(), 16, table.tensor(), one), std::logic_error);
  EXPECT_THROW(ops.rope(x.tensor(), 12, table.tensor(), outside), std::logic_error);
}

// Wide enough that the threads share the work, also that of a single row.
TEST_P(RowOps, BitsDependNeitherOnThreadsNorOnOtherRows) {
  constexpr int64_t kRows = 5, kCols = 18432;
  const Rows x = Rows::random(kRows, kCols, 15, 3);
  const Rows gain = Rows::random(1, kCols, 16), bias = Rows::random(1, kCols, 17);
  Rows table = Rows::random(kRows, 256, 18);
  using Operation = std::function<void(Backend&, Tensor, int64_t)>;
  const std::vector<Operation> operations{
      [&](Backend& b, Tensor t, int64_t) { b.rms_norm(t, t, gain.row(0), 1e-6f); },
      [&](Backend& b, Tensor t, int64_t) { b.layer_norm(t, t, gain.row(0), bias.row(0), 1e-6f); },
      [&](Backend& b, Tensor t, int64_t) {
        const Tensor x_ = t.col_range(0, 4608), y_ = t.col_range(4608, 2 * 4608);
        b.add_rms_norm({y_, x_, y_, gain.row(0), bias.row(0), 1e-6f});
      },
      [&](Backend& b, Tensor t, int64_t) { b.add_bias(t, bias.row(0)); },
      [&](Backend& b, Tensor t, int64_t) { b.scale(t, 0.3f); },
      [&](Backend& b, Tensor t, int64_t) { b.gelu(t); },
      [&](Backend& b, Tensor t, int64_t) { b.softcap(t, 2); },
      [&](Backend& b, Tensor t, int64_t) { b.gelu_mul(t.col_range(0, kCols / 2), t); },
      [&](Backend& b, Tensor t, int64_t first) {
        std::vector<int32_t> positions(static_cast<size_t>(t.rows()));
        std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
        b.rope(t, 256, table.tensor(), positions);
      }};
  for (size_t i = 0; i < operations.size(); ++i) {
    Rows whole = x;
    operations[i](ops, whole.tensor(), 0);
    ops.synchronize();
    for (const int threads : {1, 3}) {
      Device other(choice, threads);
      Rows batch = x, alone = x;
      operations[i](other.ops, batch.tensor(), 0);
      for (int64_t r = 0; r < kRows; ++r) operations[i](other.ops, alone.tensor_of_row(r), r);
      other.ops.synchronize();
      EXPECT_TRUE(batch.same_bits(whole)) << "operation " << i << ", threads " << threads;
      EXPECT_TRUE(alone.same_bits(whole)) << "operation " << i << ", threads " << threads;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Device, RowOps, testing::ValuesIn(tested_devices()), kTestNameOfDevice);

}  // namespace
}  // namespace lapidary
