#pragma once

#include "tests/kernels/kernel_test.h"

namespace lapidary {

/// A device with its scratch.
struct Engine : Device {
  Engine(const DeviceChoice& choice, int n, int64_t rows, int64_t width) : Device(choice, n) {
    ops.reserve(rows, width);
  }
};

/// `leaves` near-equal leaves under the full binary tree (each merge as soon as both halves are there), or
/// under none.
inline SumPlan tree_plan(int64_t inner, int leaves) {
  SumPlan plan;
  for (int j = 0; j <= leaves; ++j) plan.cuts.push_back(inner * j / leaves);
  for (int j = 1; j <= leaves; ++j) {
    int merges = 0;
    for (int n = j; n % 2 == 0; n /= 2) ++merges;
    plan.merges.push_back(merges);
  }
  for (int rest = plan.outputs(); rest > 1; --rest) ++plan.merges.back();
  return plan;
}

/// A weight and rows of x, with y as a loop in double gives it.
struct Product {
  int64_t rows, out, in;
  DType dtype;
  SumPlan sums;
  std::vector<float> w, x;  // rounded to dtype

  /// whole: small whole numbers, so that every sum is exact.
  Product(int64_t m, int64_t n, int64_t k, DType type, SumPlan plan, bool whole = false, uint32_t seed = 1)
      : rows(m), out(n), in(k), dtype(type), sums(std::move(plan)), w(n * k), x(m * k) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::uniform_int_distribution<int> digit(-8, 8);
    const auto sample = [&] {
      const float value = whole ? static_cast<float>(digit(random)) : normal(random);
      return dtype == DType::bf16 ? from_bf16(to_bf16(value)) : value;
    };
    for (float& v : w) v = sample();
    for (float& v : x) v = sample();
  }

  Matrix packed(Backend& ops) const {
    Matrix matrix = ops.make_matrix(out, in, dtype, sums);
    ops.pack(matrix, 0, view(const_cast<float*>(w.data()), DType::f32, out, in));
    return matrix;
  }
  std::vector<float> run(Engine& engine, int64_t begin, int64_t end) const {
    const Matrix matrix = packed(engine.ops);
    const Floats on_device(x), y(static_cast<size_t>(sums.outputs() * (end - begin) * out), NAN);
    engine.ops.matmul(view(y.data(), DType::f32, sums.outputs() * (end - begin), out),
                      view(on_device.data(), DType::f32, rows, in).row_range(begin, end), matrix);
    engine.ops.synchronize();
    return y.values();
  }
  std::vector<float> run(Engine& engine) const { return run(engine, 0, rows); }

  /// Leaves [first, last) of each output, by the same stack machine.
  struct Leaves {
    int first, last;
  };
  std::vector<Leaves> outputs() const {
    std::vector<Leaves> stack;
    for (int j = 0; j < sums.leaves(); ++j) {
      stack.push_back({j, j + 1});
      for (int m = 0; m < sums.merges[j]; ++m) {
        const int last = stack.back().last;
        stack.pop_back();
        stack.back().last = last;
      }
    }
    return stack;
  }
  /// Calls check(index into y, sum, sum of magnitudes).
  template <class Check>
  void for_each(Check check) const {
    int64_t at = 0;
    for (const Leaves& part : outputs()) {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < out; ++c, ++at) {
          double sum = 0, size = 0;
          for (int64_t k = sums.cuts[part.first]; k < sums.cuts[part.last]; ++k) {
            const double term = static_cast<double>(x[r * in + k]) * static_cast<double>(w[c * in + k]);
            sum += term;
            size += std::abs(term);
          }
          check(at, sum, size);
        }
      }
    }
  }
};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace lapidary
