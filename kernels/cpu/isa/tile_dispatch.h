#pragma once

#include <cstdint>
#include <utility>

namespace lapidary::cpu {
namespace {  // internal linkage: see vec_avx512.h

/// The arguments of a TileKernel but for the two that choose the code.
struct TileArgs {
  float* c;
  int64_t c_stride;
  const void* a;
  int64_t a_stride;
  const void* b;
  int64_t panel_stride;
  int64_t k;
  bool accumulate;
};

/// Calls Block::run<rows, panels>(args): one instance for each of 1 … kRows times 1 … kPanels, so that all
/// sums of a tile stay in registers.
template <class Block, int kRows, int kPanels>
struct TileDispatch {
  using Run = void (*)(const TileArgs&);
  struct Table {
    Run run[kRows * kPanels];
  };
  template <int... kIndex>
  static constexpr Table make(std::integer_sequence<int, kIndex...>) {
    return {{&Block::template run<kIndex / kPanels + 1, kIndex % kPanels + 1>...}};
  }
  static void run(int rows, int panels, const TileArgs& args) {
    static constexpr Table kTable = make(std::make_integer_sequence<int, kRows * kPanels>{});
    kTable.run[(rows - 1) * kPanels + panels - 1](args);
  }
};

/// A TileKernel for any rows and panels out of blocks that hold kRows x kPanels in registers, and four panels
/// where there is but one row: then the weight comes from memory, and several streams at once come faster.
template <class Block, int kRows, int kPanels>
void tile_of_blocks(float* c, int64_t c_stride, const void* a, int64_t a_stride, const void* b,
                    int64_t panel_stride, int64_t k, int rows, int panels, bool accumulate) {
  constexpr int kStreams = 4;
  const int at_once = rows == 1 ? kStreams : kPanels;
  for (int p = 0; p < panels; p += at_once) {
    const int width = panels - p < at_once ? panels - p : at_once;
    const void* part_b = static_cast<const typename Block::B*>(b) + p * panel_stride;
    for (int r = 0; r < rows; r += kRows) {
      const int height = rows - r < kRows ? rows - r : kRows;
      const void* part_a = static_cast<const typename Block::A*>(a) + r * a_stride;
      const TileArgs args{
          c + r * c_stride + p * 16, c_stride, part_a, a_stride, part_b, panel_stride, k, accumulate};
      if (rows == 1) {
        TileDispatch<Block, 1, kStreams>::run(1, width, args);
      } else {
        TileDispatch<Block, kRows, kPanels>::run(height, width, args);
      }
    }
  }
}

}  // namespace
}  // namespace lapidary::cpu
