#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace lapidary::cpu {

/// Weights, and the keys and values of attention, lie in panels: kPanel output columns side by side, so that
/// one step of the inner dimension is one vector.
///   float32:  [in][16]          bfloat16: [in / 2][16][2]  (pairs, as dot-product instructions and AMX tiles
///   want)
/// The inner dimension of a bfloat16 panel is padded with zeros to a multiple of Isa::k_step. In a weight
/// each leaf of its SumPlan is padded by itself: a panel is its padded leaves one after another.
constexpr int64_t kPanel = 16;

/// c [rows, panels * 16] (+)= a [rows, k] · b. Each element is summed over k from left to right in float32 by
/// one sequence of instructions, whatever `rows` and `panels` are (1 … Isa::tile_rows, 1 … Isa::tile_panels),
/// starting from c when `accumulate`: cutting k and going on from the stored sum changes no bit. Strides
/// count elements: of c and a from row to row, of b from panel to panel. b is 64-byte aligned; k is a
/// multiple of k_step for a bf16 b.
using TileKernel = void (*)(float* c, int64_t c_stride, const void* a, int64_t a_stride, const void* b,
                            int64_t panel_stride, int64_t k, int rows, int panels, bool accumulate);

/// Kernels over one row or one block: structs of function pointers, defined in row_kernels.h and
/// attention_kernels.h beside `template <class V> const RowKernels& row_kernels()` and likewise
/// `attention_kernels<V>()`, which isa_<name>.cpp instantiates with its own vector type V (vec_*.h).
struct RowKernels;
struct AttentionKernels;

/// What one instruction set offers. One object a file isa_<name>.cpp; the backend holds a reference to the
/// one chosen.
struct Isa {
  const char* name;
  DType a_dtype;   // what rows of x are converted to for a bf16 weight: bf16, or f32 holding rounded values
  int64_t k_step;  // bf16 panels' inner dimension is padded to a multiple of this
  int tile_rows;   // the largest number of rows, and of panels, a tile kernel takes
  int tile_panels;
  int row_step;  // tile kernels may read (never write) rows of a up to the next multiple of this

  // How a product is cut, to suit the caches: see matmul.cpp.
  int64_t k_block;      // inner depth of a pass over tile_panels panels
  int item_panels;      // panels that a chunk of rows meets at one time
  int chunk_rows;       // rows that share one way through the weight
  int64_t sum_floats;   // sums that a thread keeps at one time: about half of its second-level cache
  bool outruns_memory;  // done with a block of the weight before the processor by itself has fetched the next

  TileKernel tile_f32;    // a f32, b f32 panels
  TileKernel tile_bf16;   // a a_dtype, b bf16 panels
  TileKernel stream_f32;  // the same, for panels that come from memory: asks for them early
  TileKernel stream_bf16;
  void (*to_operand)(void* dst, const float* src, int64_t n);  // n floats rounded to bf16, kept as a_dtype
  void (*add_to)(float* sum, const float* other, int64_t n);   // sum[i] = sum[i] + other[i]
  void (*enter)();  // each thread, before its first tile of an operation (AMX: configures its tiles)
  void (*leave)();
  int64_t (*burn_f32)(int64_t rounds);  // multiplies on registers alone; returns the FLOP done (probe.h)
  int64_t (*burn_bf16)(int64_t rounds);
  const RowKernels* rows;
  const AttentionKernels* attention;
};

const Isa& portable_isa();
const Isa& avx2_isa();
const Isa& avx512_isa();
const Isa& avx512_bf16_isa();
const Isa& amx_isa();

}  // namespace lapidary::cpu
