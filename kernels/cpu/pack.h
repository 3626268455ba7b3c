#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/isa/isa.h"

namespace lapidary::cpu {

/// Where a weight's elements lie (isa.h): ceil(out / 16) panels one after another, each the leaves of its
/// inner dimension, a bfloat16 leaf padded with zeros to Isa::k_step.
struct PanelLayout {
  int64_t panels;
  int64_t panel_elements;

  PanelLayout(const Isa& isa, int64_t out, DType dtype, const SumPlan& sums);
};

/// What the panels of a weight hold: the numbers of an e4m3 one are bfloat16 there, exactly.
constexpr DType panel_dtype(DType dtype) { return dtype == DType::e4m3 ? DType::bf16 : dtype; }

/// A leaf's elements of the inner dimension with its padding.
int64_t padded_leaf(const Isa& isa, DType dtype, int64_t elements);

/// The largest number of sums that the stack of a plan holds at one time. Throws std::logic_error for a plan
/// that can't be.
int stack_depth(const SumPlan& sums, int64_t in);

/// A matrix of zeros. Throws std::logic_error for a plan, dtype or size that can't be.
Matrix make_matrix(const Isa& isa, int64_t out, int64_t in, DType dtype, SumPlan sums);

/// Backend::pack and Backend::unpack_row.
void pack(const Isa& isa, Matrix& w, int64_t first_row, Tensor rows, const float* largest = nullptr);
void unpack_row(const Isa& isa, const Matrix& w, int64_t r, float* out);

}  // namespace lapidary::cpu
