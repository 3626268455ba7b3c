#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace lapidary::cpu {

/// Weights, and the keys and values of attention, lie in panels: kPanel output columns side by side, so that one
/// step of the inner dimension is one vector.
///   float32:  [in][16]          bfloat16: [in / 2][16][2]  (pairs, as dot-product instructions and AMX tiles want)
/// The inner dimension of a bfloat16 panel is padded with zeros to a multiple of Isa::k_step.
constexpr int64_t kPanel = 16;

/// c [rows, panels * 16] (+)= a [rows, k] · b. Each element is summed over k from left to right in float32 by one
/// sequence of instructions, whatever `rows` and `panels` are.
using TileKernel = void (*)(float* c, int64_t c_stride, const void* a, int64_t a_stride, const void* b,
                            int64_t panel_stride, int64_t k, int rows, int panels, bool accumulate);

/// Kernels over one row or one block, filled in by row_kernels.h and attention_kernels.h.
struct RowKernels;
struct AttentionKernels;

/// What one instruction set offers. One object a file isa_<name>.cpp; the backend holds a reference to the one chosen.
struct Isa {
  const char* name;
  DType a_dtype;        // what rows of x are converted to for a bf16 weight: bf16, or f32 holding rounded values
  int64_t k_step;       // bf16 panels' inner dimension is padded to a multiple of this
  int tile_rows;        // most rows, and most panels, a tile kernel takes
  int tile_panels;
  int row_step;         // tile kernels may read (never write) rows up to the next multiple of this
  TileKernel tile_f32;   // a f32, b f32 panels
  TileKernel tile_bf16;  // a a_dtype, b bf16 panels
  void (*enter)();       // each thread, before its first tile of an operation (AMX: configures its tiles)
  void (*leave)();
  const RowKernels* rows;
  const AttentionKernels* attention;
};

const Isa& portable_isa();
const Isa& avx2_isa();
const Isa& avx512_isa();
const Isa& avx512_bf16_isa();
const Isa& amx_isa();

}  // namespace lapidary::cpu
