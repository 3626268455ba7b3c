#include "kernels/cpu/pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cpu/memory.h"

namespace lapidary::cpu {
namespace {

void require(bool holds, const std::string& rule) {
  if (!holds) throw std::logic_error("matrix: " + rule);
}

// Columns that are turned at once: 64 bytes of bf16 a row, sixteen rows.
constexpr int64_t kStep = 32;

/// Columns [k, k + n) of up to 16 rows as T, n <= kStep; missing rows and columns are left alone.
template <class T>
void gather(T (&to)[kPanel][kStep], Tensor rows, int64_t first, int64_t count, int64_t k, int64_t n) {
  for (int64_t r = 0; r < count; ++r) {
    if (rows.dtype == DType::f32) {
      const float* from = rows.row<const float>(first + r) + k;
      for (int64_t i = 0; i < n; ++i) {
        if constexpr (sizeof(T) == 4) {
          to[r][i] = from[i];
        } else {
          to[r][i] = to_bf16(from[i]);
        }
      }
    } else {
      const uint16_t* from = rows.row<const uint16_t>(first + r) + k;
      for (int64_t i = 0; i < n; ++i) {
        if constexpr (sizeof(T) == 4) {
          to[r][i] = from_bf16(from[i]);
        } else {
          to[r][i] = from[i];
        }
      }
    }
  }
}

/// n columns from `at` of a panel: [n][16]
void turn(float* at, const float (&block)[kPanel][kStep], int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t r = 0; r < kPanel; ++r) at[i * kPanel + r] = block[r][i];
  }
}

/// [ceil(n / 2)][16][2]: pairs move as one.
void turn(uint16_t* at, const uint16_t (&block)[kPanel][kStep], int64_t n) {
  for (int64_t i = 0; i < n; i += 2) {
    for (int64_t r = 0; r < kPanel; ++r)
      std::memcpy(at + (i * kPanel + 2 * r), &block[r][i], 2 * sizeof(uint16_t));
  }
}

float* scales_of(const Matrix& w) { return reinterpret_cast<float*>(w.scales.get()); }

/// The rows divided by their scales, which are written, as bf16 numbers that are e4m3 numbers.
std::vector<uint16_t> round_to_e4m3(float* scales, Tensor rows, const float* largest) {
  std::vector<uint16_t> rounded;
  rounded.reserve(static_cast<size_t>(rows.rows() * rows.cols()));
  std::vector<float> row(static_cast<size_t>(rows.cols()));
  for (int64_t r = 0; r < rows.rows(); ++r) {
    float row_max = 0;
    for (size_t k = 0; k < row.size(); ++k) {
      row[k] =
          rows.dtype == DType::f32 ? rows.row<const float>(r)[k] : from_bf16(rows.row<const uint16_t>(r)[k]);
      if (std::abs(row[k]) > row_max || row[k] != row[k]) row_max = std::abs(row[k]);
    }
    scales[r] = e4m3_scale(largest != nullptr ? largest[r] : row_max);
    for (const float value : row) rounded.push_back(to_bf16(from_e4m3(to_e4m3(value / scales[r]))));
  }
  return rounded;
}

/// Rows first … first + count - 1 of `rows` become one panel.
template <class T>
void pack_panel(const Isa& isa, const Matrix& w, T* panel, Tensor rows, int64_t first, int64_t count) {
  for (int j = 0; j < w.sums.leaves(); ++j) {
    const int64_t begin = w.sums.cuts[j], end = w.sums.cuts[j + 1];
    for (int64_t k = begin; k < end; k += kStep) {
      T block[kPanel][kStep] = {};
      const int64_t n = std::min(kStep, end - k);
      gather(block, rows, first, count, k, n);
      turn(panel + (k - begin) * kPanel, block, n);
    }
    panel += padded_leaf(isa, panel_dtype(w.dtype), end - begin) * kPanel;
  }
}

}  // namespace

int64_t padded_leaf(const Isa& isa, DType dtype, int64_t elements) {
  if (dtype != DType::bf16) return elements;
  return (elements + isa.k_step - 1) / isa.k_step * isa.k_step;
}

PanelLayout::PanelLayout(const Isa& isa, int64_t out, DType dtype, const SumPlan& sums)
    : panels((out + kPanel - 1) / kPanel), panel_elements(0) {
  for (int j = 0; j < sums.leaves(); ++j) {
    panel_elements += padded_leaf(isa, dtype, sums.cuts[j + 1] - sums.cuts[j]) * kPanel;
  }
}

int stack_depth(const SumPlan& sums, int64_t in) {
  require(sums.leaves() > 0 && sums.cuts.size() == sums.merges.size() + 1,
          "a sum of n leaves has n + 1 cuts, n > 0");
  require(sums.cuts.front() == 0 && sums.cuts.back() == in,
          "the cuts go from 0 to the inner size " + std::to_string(in));
  int depth = 0, max_depth = 0;
  for (int j = 0; j < sums.leaves(); ++j) {
    require(sums.cuts[j] <= sums.cuts[j + 1], "cuts ascend");
    max_depth = std::max(max_depth, ++depth);
    require(sums.merges[j] >= 0 && sums.merges[j] < depth, "a merge needs two sums on the stack");
    depth -= sums.merges[j];
  }
  return max_depth;
}

Matrix make_matrix(const Isa& isa, int64_t out, int64_t in, DType dtype, SumPlan sums) {
  require(out >= 0 && in >= 0, "sizes are not negative");
  require(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::e4m3,
          std::string("float32, bfloat16 or float8_e4m3, not ") + name_of(dtype));
  stack_depth(sums, in);
  const PanelLayout layout(isa, out, panel_dtype(dtype), sums);
  const size_t bytes =
      static_cast<size_t>(layout.panels * layout.panel_elements) * size_of(panel_dtype(dtype));
  Matrix w{out, in, dtype, std::move(sums), allocate(bytes), bytes};
  if (dtype == DType::e4m3) w.scales = allocate(static_cast<size_t>(out) * sizeof(float));
  return w;
}

void pack(const Isa& isa, Matrix& w, int64_t first_row, Tensor rows, const float* largest) {
  require(rows.dtype == DType::f32 || rows.dtype == DType::bf16, "rows to pack are float32 or bfloat16");
  require(rows.cols() == w.in,
          "rows of " + std::to_string(rows.cols()) + " for an inner size of " + std::to_string(w.in));
  const int64_t end = first_row + rows.rows();
  require(first_row >= 0 && first_row % kPanel == 0 && end <= w.out && (end % kPanel == 0 || end == w.out),
          "rows are packed in sixteens: not " + std::to_string(first_row) + " to " + std::to_string(end) +
              " of " + std::to_string(w.out));
  const PanelLayout layout(isa, w.out, panel_dtype(w.dtype), w.sums);
  const std::vector<uint16_t> rounded = w.dtype == DType::e4m3
                                            ? round_to_e4m3(scales_of(w) + first_row, rows, largest)
                                            : std::vector<uint16_t>{};
  if (w.dtype == DType::e4m3)
    rows = view(const_cast<uint16_t*>(rounded.data()), DType::bf16, rows.rows(), rows.cols());
  for (int64_t r = 0; r < rows.rows(); r += kPanel) {
    const int64_t count = std::min(kPanel, rows.rows() - r);
    const int64_t at = (first_row + r) / kPanel * layout.panel_elements;
    if (w.dtype == DType::f32) {
      pack_panel(isa, w, reinterpret_cast<float*>(w.data.get()) + at, rows, r, count);
    } else {
      pack_panel(isa, w, reinterpret_cast<uint16_t*>(w.data.get()) + at, rows, r, count);
    }
  }
}

void unpack_row(const Isa& isa, const Matrix& w, int64_t r, float* out) {
  require(r >= 0 && r < w.out, "row " + std::to_string(r) + " of " + std::to_string(w.out));
  const PanelLayout layout(isa, w.out, panel_dtype(w.dtype), w.sums);
  int64_t at = r / kPanel * layout.panel_elements;
  for (int j = 0; j < w.sums.leaves(); ++j) {
    const int64_t begin = w.sums.cuts[j], n = w.sums.cuts[j + 1] - begin;
    if (w.dtype == DType::f32) {
      const float* leaf = reinterpret_cast<const float*>(w.data.get()) + at + r % kPanel;
      for (int64_t i = 0; i < n; ++i) out[begin + i] = leaf[i * kPanel];
    } else {
      const uint16_t* leaf = reinterpret_cast<const uint16_t*>(w.data.get()) + at + r % kPanel * 2;
      for (int64_t i = 0; i < n; ++i) out[begin + i] = from_bf16(leaf[i / 2 * 2 * kPanel + i % 2]);
    }
    at += padded_leaf(isa, panel_dtype(w.dtype), n) * kPanel;
  }
  if (w.dtype == DType::e4m3)
    for (int64_t k = 0; k < w.in; ++k) out[k] *= scales_of(w)[r];
}

}  // namespace lapidary::cpu
