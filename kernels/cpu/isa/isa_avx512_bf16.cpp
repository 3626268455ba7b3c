#include "kernels/cpu/isa/attention_kernels.h"
#include "kernels/cpu/isa/burn.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/narrow_bf16.h"
#include "kernels/cpu/isa/row_kernels.h"
#include "kernels/cpu/isa/tile_dot_bf16.h"
#include "kernels/cpu/isa/tile_fma.h"
#include "kernels/cpu/isa/vec_avx512.h"
#include "kernels/cpu/isa/vec_ops.h"

namespace lapidary::cpu {
namespace {
constexpr int kRows = 6;  // with 4 panels: the sums that fit into the registers
constexpr int kPanels = 4;
}  // namespace

const Isa& avx512_bf16_isa() {
  static const Isa kIsa{
      .name = "avx512-bf16",
      .a_dtype = DType::bf16,
      .k_step = 2,
      .tile_rows = kRows,
      .tile_panels = 4,
      .row_step = 1,
      .k_block = 1152,
      .item_panels = 4,
      .chunk_rows = 258,
      .sum_floats = 1 << 17,
      .outruns_memory = false,
      .tile_f32 = tile_of_blocks<FmaBlockF32<VecAvx512, false>, kRows, kPanels>,
      .tile_bf16 = tile_of_blocks<DotBlockBf16<false>, kRows, kPanels>,
      .stream_f32 = tile_of_blocks<FmaBlockF32<VecAvx512, true>, kRows, kPanels>,
      .stream_bf16 = tile_of_blocks<DotBlockBf16<true>, kRows, kPanels>,
      .to_operand = to_dot_operand,
      .add_to = add_to_row<VecAvx512>,
      .enter = [] {},
      .leave = [] {},
      .burn_f32 = burn_fma<VecAvx512, 16>,
      .burn_bf16 = burn_dot_bf16,
      .rows = &row_kernels<VecAvx512>(),
      .attention = &attention_kernels<VecAvx512, NarrowBf16>(),
  };
  return kIsa;
}

}  // namespace lapidary::cpu
