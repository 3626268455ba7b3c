#pragma once

#include <cstdint>
#include <cstring>

namespace lapidary::cpu {
namespace {  // internal linkage: see vec_avx512.h

/// The TileKernel of AMX: up to 32 rows x 4 panels, k in steps of 32. Tiles 0-3 hold sums; two tiles of a and
/// two of b feed four of them, so that each loaded tile is used twice. kStream: the panels come from memory.
/// Tiles is AmxTiles or one that computes the same.
template <class Tiles, bool kStream>
struct AmxBlock {
  static constexpr int kTileRows = 16;

  float* c;
  int64_t c_stride;
  const uint16_t* a;
  int64_t a_stride;
  const uint16_t* b;
  int64_t panel_stride;
  int64_t k;
  int rows;
  bool accumulate;

  int rows_of(int row_tile) const {
    const int left = rows - row_tile * kTileRows;
    return left < kTileRows ? left : kTileRows;
  }
  float* sums_at(int row_tile, int panel) const { return c + row_tile * kTileRows * c_stride + panel * 16; }

  /// The machine loads and stores whole tiles: where fewer rows are ours, by way of a copy.
  template <int kTile>
  void load_sums(int row_tile, int panel) const {
    if (!accumulate) return Tiles::template zero<kTile>();
    const float* from = sums_at(row_tile, panel);
    const int n = rows_of(row_tile);
    if (n == kTileRows) return Tiles::template load<kTile>(from, c_stride * 4);
    alignas(64) float copy[kTileRows][16] = {};
    for (int r = 0; r < n; ++r) std::memcpy(copy[r], from + r * c_stride, sizeof copy[r]);
    Tiles::template load<kTile>(copy, 64);
  }
  template <int kTile>
  void store_sums(int row_tile, int panel) const {
    float* to = sums_at(row_tile, panel);
    const int n = rows_of(row_tile);
    if (n == kTileRows) return Tiles::template store<kTile>(to, c_stride * 4);
    alignas(64) float copy[kTileRows][16];
    Tiles::template store<kTile>(copy, 64);
    for (int r = 0; r < n; ++r) std::memcpy(to + r * c_stride, copy[r], sizeof copy[r]);
  }

  template <int kTile>
  void load_a(int row_tile, int64_t at) const {
    Tiles::template load<kTile>(a + row_tile * kTileRows * a_stride + at, a_stride * 2);
  }
  template <int kTile>
  void load_b(int panel, int64_t at) const {
    Tiles::template load<kTile>(b + panel * panel_stride + at * 16, 64);
  }
  /// The next rows of a follow these in memory: a tile's height of them is brought near while a block
  /// computes.
  void prefetch_next_rows(int row_tile, int64_t at) const {
    const uint16_t* next = a + (2 + row_tile) * kTileRows * a_stride + at;
    for (int r = 0; r < kTileRows; ++r) __builtin_prefetch(next + r * a_stride);
  }
  /// With few rows the panels come from memory, faster when asked for early.
  void prefetch_panel(int panel, int64_t at) const {
    constexpr int64_t kTilesAhead = 4;
    const uint16_t* next = b + panel * panel_stride + (at + kTilesAhead * 32) * 16;
    for (int line = 0; line < 16; ++line) __builtin_prefetch(next + line * 32);
  }

  /// 32 rows x 2 panels from `panel` on, 0 or 2.
  void square(int panel) const {
    load_sums<0>(0, panel);
    load_sums<1>(0, panel + 1);
    load_sums<2>(1, panel);
    load_sums<3>(1, panel + 1);
    for (int64_t at = 0; at < k; at += 32) {
      load_a<4>(0, at);
      load_b<6>(panel, at);
      Tiles::template dot_bf16<0, 4, 6>();
      load_b<7>(panel + 1, at);
      Tiles::template dot_bf16<1, 4, 7>();
      load_a<5>(1, at);
      Tiles::template dot_bf16<2, 5, 6>();
      Tiles::template dot_bf16<3, 5, 7>();
      if (kStream) {
        prefetch_panel(panel, at);
        prefetch_panel(panel + 1, at);
      } else {
        prefetch_next_rows(panel / 2, at);
      }
    }
    store_sums<0>(0, panel);
    store_sums<1>(0, panel + 1);
    store_sums<2>(1, panel);
    store_sums<3>(1, panel + 1);
  }

  /// 32 rows x 1 panel.
  void tall(int panel) const {
    load_sums<0>(0, panel);
    load_sums<1>(1, panel);
    for (int64_t at = 0; at < k; at += 32) {
      load_b<6>(panel, at);
      load_a<4>(0, at);
      Tiles::template dot_bf16<0, 4, 6>();
      load_a<5>(1, at);
      Tiles::template dot_bf16<1, 5, 6>();
    }
    store_sums<0>(0, panel);
    store_sums<1>(1, panel);
  }

  template <int kPanels, int kPanel>
  void wide_step(int64_t at) const {
    if constexpr (kPanel < kPanels) {
      load_b<5 + kPanel % 3>(kPanel, at);
      prefetch_panel(kPanel, at);
      Tiles::template dot_bf16<kPanel, 4, 5 + kPanel % 3>();
    }
  }
  template <int kPanels, int kPanel>
  void wide_sums(bool load) const {
    if constexpr (kPanel < kPanels) {
      if (load) return load_sums<kPanel>(0, kPanel);
      store_sums<kPanel>(0, kPanel);
    }
  }
  template <int kPanels>
  void wide_all_sums(bool load) const {
    wide_sums<kPanels, 0>(load);
    wide_sums<kPanels, 1>(load);
    wide_sums<kPanels, 2>(load);
    wide_sums<kPanels, 3>(load);
  }
  /// Up to 16 rows x 1 … 4 panels.
  template <int kPanels>
  void wide() const {
    wide_all_sums<kPanels>(true);
    for (int64_t at = 0; at < k; at += 32) {
      load_a<4>(0, at);
      wide_step<kPanels, 0>(at);
      wide_step<kPanels, 1>(at);
      wide_step<kPanels, 2>(at);
      wide_step<kPanels, 3>(at);
    }
    wide_all_sums<kPanels>(false);
  }

  void run(int panels) const {
    if (rows > kTileRows) {
      int panel = 0;
      for (; panel + 2 <= panels; panel += 2) square(panel);
      if (panel < panels) tall(panel);
      return;
    }
    switch (panels) {
      case 1:
        return wide<1>();
      case 2:
        return wide<2>();
      case 3:
        return wide<3>();
      default:
        return wide<4>();
    }
  }
};

template <class Tiles, bool kStream>
void tile_amx(float* c, int64_t c_stride, const void* a, int64_t a_stride, const void* b,
              int64_t panel_stride, int64_t k, int rows, int panels, bool accumulate) {
  AmxBlock<Tiles, kStream>{c,
                           c_stride,
                           static_cast<const uint16_t*>(a),
                           a_stride,
                           static_cast<const uint16_t*>(b),
                           panel_stride,
                           k,
                           rows,
                           accumulate}
      .run(panels);
}

/// Isa::burn_bf16: the four products of a square block, again and again. The tiles are configured.
template <class Tiles>
int64_t burn_amx(int64_t rounds) {
  for (int64_t i = 0; i < rounds; ++i) {
    Tiles::template dot_bf16<0, 4, 6>();
    Tiles::template dot_bf16<1, 4, 7>();
    Tiles::template dot_bf16<2, 5, 6>();
    Tiles::template dot_bf16<3, 5, 7>();
  }
  return rounds * 4 * 2 * 16 * 16 * 32;
}

}  // namespace
}  // namespace lapidary::cpu
