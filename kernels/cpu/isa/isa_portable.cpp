#include "kernels/cpu/isa/attention_kernels.h"
#include "kernels/cpu/isa/burn.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/row_kernels.h"
#include "kernels/cpu/isa/tile_fma.h"
#include "kernels/cpu/isa/vec_ops.h"
#include "kernels/cpu/isa/vec_portable.h"

namespace lapidary::cpu {
namespace {
constexpr int kRows = 2;  // with 1 panel: the sums that fit into the registers
constexpr int kPanels = 1;
}  // namespace

const Isa& portable_isa() {
  static const Isa kIsa{
      .name = "portable",
      .a_dtype = DType::f32,
      .k_step = 2,
      .tile_rows = kRows,
      .tile_panels = 4,
      .row_step = 1,
      .k_block = 256,
      .item_panels = 4,
      .chunk_rows = 192,
      .sum_floats = 1 << 17,
      .outruns_memory = false,
      .tile_f32 = tile_of_blocks<FmaBlockF32<VecPortable, false>, kRows, kPanels>,
      .tile_bf16 = tile_of_blocks<FmaBlockBf16<VecPortable, false>, kRows, kPanels>,
      .stream_f32 = tile_of_blocks<FmaBlockF32<VecPortable, true>, kRows, kPanels>,
      .stream_bf16 = tile_of_blocks<FmaBlockBf16<VecPortable, true>, kRows, kPanels>,
      .to_operand = to_rounded_row<VecPortable>,
      .add_to = add_to_row<VecPortable>,
      .enter = [] {},
      .leave = [] {},
      .burn_f32 = burn_fma<VecPortable, 3>,
      .burn_bf16 = burn_fma<VecPortable, 3>,
      .rows = &row_kernels<VecPortable>(),
      .attention = &attention_kernels<VecPortable>(),
  };
  return kIsa;
}

}  // namespace lapidary::cpu
