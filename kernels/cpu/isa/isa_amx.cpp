#include "kernels/cpu/isa/amx_tiles.h"
#include "kernels/cpu/isa/attention_kernels.h"
#include "kernels/cpu/isa/burn.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/narrow_bf16.h"
#include "kernels/cpu/isa/row_kernels.h"
#include "kernels/cpu/isa/tile_amx.h"
#include "kernels/cpu/isa/tile_dot_bf16.h"
#include "kernels/cpu/isa/tile_fma.h"
#include "kernels/cpu/isa/vec_avx512.h"
#include "kernels/cpu/isa/vec_ops.h"

namespace lapidary::cpu {
namespace {
constexpr int kRows = 6;  // with 4 panels: the sums that fit into the registers
constexpr int kPanels = 4;
}  // namespace

const Isa& amx_isa() {
  static const Isa kIsa{
      .name = "amx",
      .a_dtype = DType::bf16,
      .k_step = 32,
      .tile_rows = 32,
      .tile_panels = 4,
      .row_step = 16,
      .k_block = 192,
      .item_panels = 16,
      .chunk_rows = 256,
      .sum_floats = 1 << 18,
      .outruns_memory = true,
      .tile_f32 = tile_of_blocks<FmaBlockF32<VecAvx512, false>, kRows, kPanels>,
      .tile_bf16 = tile_amx<AmxTiles, false>,
      .stream_f32 = tile_of_blocks<FmaBlockF32<VecAvx512, true>, kRows, kPanels>,
      .stream_bf16 = tile_amx<AmxTiles, true>,
      .to_operand = to_dot_operand,
      .add_to = add_to_row<VecAvx512>,
      .enter = AmxTiles::configure,
      .leave = AmxTiles::release,
      .burn_f32 = burn_fma<VecAvx512, 16>,
      .burn_bf16 = burn_amx<AmxTiles>,
      .rows = &row_kernels<VecAvx512>(),
      .attention = &attention_kernels<VecAvx512, NarrowBf16>(),
  };
  return kIsa;
}

}  // namespace lapidary::cpu
