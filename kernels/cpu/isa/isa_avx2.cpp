#include "kernels/cpu/isa/attention_kernels.h"
#include "kernels/cpu/isa/burn.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/row_kernels.h"
#include "kernels/cpu/isa/tile_fma.h"
#include "kernels/cpu/isa/vec_avx2.h"
#include "kernels/cpu/isa/vec_ops.h"

namespace lapidary::cpu {
namespace {
constexpr int kRows = 5;  // with 1 panel: the sums that fit into the registers
constexpr int kPanels = 1;
}  // namespace

const Isa& avx2_isa() {
  static const Isa kIsa{
      .name = "avx2",
      .a_dtype = DType::f32,
      .k_step = 2,
      .tile_rows = kRows,
      .tile_panels = 4,
      .row_step = 1,
      .k_block = 512,
      .item_panels = 4,
      .chunk_rows = 260,
      .sum_floats = 1 << 17,
      .outruns_memory = false,
      .tile_f32 = tile_of_blocks<FmaBlockF32<VecAvx2, false>, kRows, kPanels>,
      .tile_bf16 = tile_of_blocks<FmaBlockBf16<VecAvx2, false>, kRows, kPanels>,
      .stream_f32 = tile_of_blocks<FmaBlockF32<VecAvx2, true>, kRows, kPanels>,
      .stream_bf16 = tile_of_blocks<FmaBlockBf16<VecAvx2, true>, kRows, kPanels>,
      .to_operand = to_rounded_row<VecAvx2>,
      .add_to = add_to_row<VecAvx2>,
      .enter = [] {},
      .leave = [] {},
      .burn_f32 = burn_fma<VecAvx2, 6>,
      .burn_bf16 = burn_fma<VecAvx2, 6>,
      .rows = &row_kernels<VecAvx2>(),
      .attention = &attention_kernels<VecAvx2>(),
  };
  return kIsa;
}

}  // namespace lapidary::cpu
