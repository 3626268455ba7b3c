#pragma once

#include "kernels/cuda/runtime/device.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

// Operations on single elements of rows (kernels/backend.h says what each computes). Tensors and biases are
// device memory; each tensor is float32 or bfloat16, the arithmetic is float32. Shapes are checked on entry
// (std::logic_error). Tensors of one call may be the same memory, not memory shifted.

void add(Stream stream, Tensor x, Tensor y);
void add_bias(Stream stream, Tensor x, const float* bias);
void scale(Stream stream, Tensor x, float factor);
void gelu(Stream stream, Tensor x);
void gelu_mul(Stream stream, Tensor y, Tensor gate_up);
/// Columns of gate, and as many of up, that lie together in a gated weight (Backend::gate_up_interleave):
/// what one lane of the matrix kernels holds of both belongs together.
constexpr int kGateRun = 8;
constexpr int64_t gated_columns(int64_t n) { return (n + kGateRun - 1) / kGateRun * (2 * kGateRun); }
/// y [rows, n] = gelu(gate) · up of gate_up [rows, gated_columns(n)].
void gelu_mul_runs(Stream stream, Tensor y, Tensor gate_up);
void softcap(Stream stream, Tensor x, float cap);

/// Bytes as they are for equal types, otherwise rounds to bfloat16 or widens to float32. Both on the device.
void copy_tensor(Stream stream, Tensor dst, Tensor src);

}  // namespace lapidary::cuda
