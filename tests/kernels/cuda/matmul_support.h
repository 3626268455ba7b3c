#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/cuda/matmul/matmul.h"
#include "tests/kernels/matmul_cases.h"

namespace lapidary::cuda {

inline Buffer upload(const void* data, size_t bytes) {
  Buffer buffer = allocate(std::max<size_t>(bytes, 1));
  copy({}, buffer.get(), data, bytes);
  synchronize({});
  return buffer;
}

/// Rows of float32 as a tensor of either dtype, `before` columns into rows of `stride`; what is around them
/// is NaN.
struct PlacedRows {
  Buffer data;
  Tensor tensor;

  PlacedRows(const float* from, int64_t rows, int64_t cols, DType dtype, int64_t before, int64_t stride) {
    std::vector<float> wide(static_cast<size_t>(rows * stride), NAN);
    for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * cols, cols, &wide[r * stride + before]);
    std::vector<uint16_t> half(wide.size());
    for (size_t i = 0; i < wide.size(); ++i) half[i] = to_bf16(wide[i]);
    const bool full = dtype == DType::f32;
    data = upload(full ? static_cast<const void*>(wide.data()) : half.data(), wide.size() * size_of(dtype));
    tensor = view(data.get(), dtype, rows, stride).col_range(before, before + cols);
  }
};

/// How x and y lie in memory: extra columns before and after theirs.
struct Layout {
  DType x = DType::f32, y = DType::f32;
  int64_t x_before = 0, x_after = 0, y_before = 0, y_after = 0;
};

inline std::vector<float> to_host(Tensor t) {
  std::vector<std::byte> bytes(static_cast<size_t>(t.rows() * t.stride) * size_of(t.dtype));
  copy({}, bytes.data(), t.data, bytes.size());
  synchronize({});
  std::vector<float> values(static_cast<size_t>(t.rows() * t.stride));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = t.dtype == DType::f32 ? reinterpret_cast<const float*>(bytes.data())[i]
                                      : from_bf16(reinterpret_cast<const uint16_t*>(bytes.data())[i]);
  return values;
}

/// Rows [begin, end) of a product, as float32 [outputs * rows, out]. Checks that nothing beside y is written.
inline std::vector<float> run_rows(MatmulScratch& scratch, const Product& product, const Matrix& w,
                                   int64_t begin, int64_t end, const Layout& layout = {},
                                   const std::vector<float>* bias = nullptr) {
  const int64_t rows = end - begin, y_rows = w.sums.outputs() * rows;
  const PlacedRows x(&product.x[begin * product.in], rows, product.in, layout.x, layout.x_before,
                     layout.x_before + product.in + layout.x_after);
  const int64_t stride = layout.y_before + w.out + layout.y_after;
  const std::vector<float> untouched(static_cast<size_t>(y_rows * stride), -7);
  const PlacedRows y(untouched.data(), y_rows, stride, layout.y, 0, stride);
  const Buffer b = bias == nullptr ? Buffer() : upload(bias->data(), bias->size() * sizeof(float));
  matmul({}, scratch, y.tensor.col_range(layout.y_before, layout.y_before + w.out), x.tensor, w,
         {.bias = reinterpret_cast<const float*>(b.get())});
  const std::vector<float> wide = to_host(y.tensor);
  std::vector<float> result;
  for (int64_t r = 0; r < y_rows; ++r) {
    for (int64_t c = 0; c < stride; ++c) {
      const float value = wide[r * stride + c];
      if (c >= layout.y_before && c < layout.y_before + w.out) {
        result.push_back(value);
      } else if (value != -7) {
        ADD_FAILURE() << "column " << c - layout.y_before << " beside y is written";
      }
    }
  }
  return result;
}

/// The weight of a product, packed. An e4m3 one changes product.w to what it holds.
inline Matrix pack_weight(Product& product, DType dtype, MatmulMode mode = {},
                          const float* largest = nullptr) {
  Matrix w = make_matrix(product.out, product.in, dtype, product.sums, mode);
  PackBuffers buffers(1, static_cast<size_t>(std::max<int64_t>(product.in, 1) * product.out) * sizeof(float));
  pack(buffers, w, 0, view(product.w.data(), DType::f32, product.out, product.in), largest);
  if (dtype == DType::e4m3)
    for (int64_t r = 0; r < product.out; ++r) unpack_row({}, w, r, &product.w[r * product.in]);
  return w;
}

/// A product of random numbers that its dtype holds, packed, with scratch.
struct PackedProduct : Product {
  Matrix matrix;
  MatmulScratch scratch;

  PackedProduct(int64_t m, int64_t n, int64_t k, DType weight, SumPlan plan, bool whole_numbers = false)
      : Product(m, n, k, weight == DType::f32 ? weight : DType::bf16, std::move(plan), whole_numbers),
        matrix(pack_weight(*this, weight)) {
    scratch.reserve(m, std::max(n, k));
  }
  std::vector<float> run_part(int64_t begin, int64_t end, const Layout& layout = {}) {
    return run_rows(scratch, *this, matrix, begin, end, layout);
  }
};

// A sum of n terms in float32, in any order, is off by at most n·2^-24 of the sum of magnitudes; twice that
// where products are rounded by themselves, or the machine cuts a sum off instead of rounding it. A few more
// for a scale and a bias. Terms below the normal range may count as zero.
inline double bound(int64_t n, double size) {
  return static_cast<double>(2 * n + 8) * 0x1p-24 * size + static_cast<double>(n) * 0x1p-126;
}

/// `bias` may be null; a y of bf16 is off by half a unit in its last place (2^-8) more.
inline void expect_close(const Product& product, const std::vector<float>& y, const float* bias = nullptr,
                         DType dtype = DType::f32) {
  int64_t wrong = 0;
  product.for_each([&](int64_t at, double sum, double size) {
    const double more = bias != nullptr ? static_cast<double>(bias[at % product.out]) : 0;
    const double exact = sum + more, allowed = bound(product.in, size + std::abs(more));
    const double rounding = dtype == DType::bf16 ? 0x1p-8 * (std::abs(exact) + allowed) : 0;
    if (std::abs(static_cast<double>(y[at]) - exact) <= allowed + rounding) return;
    if (++wrong <= 3) ADD_FAILURE() << "element " << at << ": " << y[at] << " for " << exact;
  });
  EXPECT_EQ(wrong, 0) << product.rows << " x " << product.out << " x " << product.in << " leaves "
                      << product.sums.leaves();
}

}  // namespace lapidary::cuda
