#include "kernels/cpu/isa/attention_kernels.h"
#include "kernels/cpu/isa/burn.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/row_kernels.h"
#include "kernels/cpu/isa/tile_fma.h"
#include "kernels/cpu/isa/vec_avx512.h"
#include "kernels/cpu/isa/vec_ops.h"

namespace lapidary::cpu {
namespace {
constexpr int kRows = 6;  // with 4 panels: the sums that fit into the registers
constexpr int kPanels = 4;
}  // namespace

const Isa& avx512_isa() {
  static const Isa kIsa{
      .name = "avx512",
      .a_dtype = DType::f32,
      .k_step = 2,
      .tile_rows = kRows,
      .tile_panels = 4,
      .row_step = 1,
      .k_block = 1024,
      .item_panels = 4,
      .chunk_rows = 258,
      .sum_floats = 1 << 17,
      .outruns_memory = false,
      .tile_f32 = tile_of_blocks<FmaBlockF32<VecAvx512, false>, kRows, kPanels>,
      .tile_bf16 = tile_of_blocks<FmaBlockBf16<VecAvx512, false>, kRows, kPanels>,
      .stream_f32 = tile_of_blocks<FmaBlockF32<VecAvx512, true>, kRows, kPanels>,
      .stream_bf16 = tile_of_blocks<FmaBlockBf16<VecAvx512, true>, kRows, kPanels>,
      .to_operand = to_rounded_row<VecAvx512>,
      .add_to = add_to_row<VecAvx512>,
      .enter = [] {},
      .leave = [] {},
      .burn_f32 = burn_fma<VecAvx512, 16>,
      .burn_bf16 = burn_fma<VecAvx512, 16>,
      .rows = &row_kernels<VecAvx512>(),
      .attention = &attention_kernels<VecAvx512>(),
  };
  return kIsa;
}

}  // namespace lapidary::cpu
