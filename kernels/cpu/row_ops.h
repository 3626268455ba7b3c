#pragma once

#include <cstdint>
#include <span>

#include "kernels/backend.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/tensor.h"
#include "kernels/thread_pool.h"

namespace lapidary::cpu {

// The row operations of Backend (kernels/backend.h says what each computes), on a given pool and instruction
// set. Shapes are checked on entry (std::logic_error). A sum along a row is made by one thread in an order
// that the row's length alone decides; operations on single elements are also spread along a row.

void rms_norm(ThreadPool& threads, const Isa& isa, Tensor y, Tensor x, const float* gain, float eps);
void layer_norm(ThreadPool& threads, const Isa& isa, Tensor y, Tensor x, const float* gain, const float* bias,
                float eps);
void add(ThreadPool& threads, const Isa& isa, Tensor x, Tensor y);
void add_bias(ThreadPool& threads, const Isa& isa, Tensor x, const float* bias);
void scale(ThreadPool& threads, const Isa& isa, Tensor x, float factor);
void gelu(ThreadPool& threads, const Isa& isa, Tensor x);
void gelu_mul(ThreadPool& threads, const Isa& isa, Tensor y, Tensor gate_up);
void softcap(ThreadPool& threads, const Isa& isa, Tensor x, float cap);
void rope(ThreadPool& threads, const Isa& isa, Tensor x, int64_t head_dim, Tensor cos_sin,
          std::span<const int32_t> positions);
void copy(ThreadPool& threads, Tensor dst, Tensor src);
void patchify(ThreadPool& threads, Tensor y, const uint8_t* rgb, int64_t size, int64_t patch,
              const float* value_of);
void embed(ThreadPool& threads, const Isa& isa, Tensor y, const Matrix& table, std::span<const int32_t> ids,
           Tensor token_table, int64_t first_id, float factor);

}  // namespace lapidary::cpu
