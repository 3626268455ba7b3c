#pragma once

#include <vector>

#include "kernels/cpu/isa/detect.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/tile_amx.h"
#include "kernels/cpu/isa/vec_ops.h"
#include "kernels/cpu/isa/vec_portable.h"
#include "tests/amx_emulation/software_tiles.h"

namespace lapidary::cpu {

/// The portable instruction set with the AMX kernel over tiles in software: everything around the kernel
/// (layouts, padding, partial tiles, who configures the tiles) is as on a machine that has them.
inline const Isa& emulated_amx_isa() {
  static const Isa kIsa = [] {
    Isa isa = portable_isa();
    isa.name = "amx-emulated";
    isa.a_dtype = DType::bf16;
    isa.k_step = 32;
    isa.tile_rows = 32;
    isa.row_step = 16;
    isa.k_block = 64;  // smaller blocks than the machine's: more of them meet in a small test
    isa.item_panels = 16;
    isa.chunk_rows = 64;
    isa.outruns_memory = true;
    isa.tile_bf16 = tile_amx<SoftwareTiles, false>;
    isa.stream_bf16 = tile_amx<SoftwareTiles, true>;
    isa.to_operand = to_bf16_row<VecPortable>;
    isa.enter = SoftwareTiles::configure;
    isa.leave = SoftwareTiles::release;
    return isa;
  }();
  return kIsa;
}

/// What kernels are tested on: all that this machine runs, and AMX in software.
inline std::vector<const Isa*> tested_isas() {
  std::vector<const Isa*> isas = available_isas();
  isas.push_back(&emulated_amx_isa());
  return isas;
}

inline std::string test_name(const Isa& isa) {
  std::string name = isa.name;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

}  // namespace lapidary::cpu
