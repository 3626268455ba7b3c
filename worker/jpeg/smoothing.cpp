#include "worker/jpeg/smoothing.h"

// The library's own state says how far the last scan came; Debian installs this header beside jpeglib.h.
extern "C" {
#include <jpegint.h>
}

#include <algorithm>
#include <array>
#include <cstdint>

namespace lapidary {
namespace {

/// The window: the block itself and two neighbours on each side.
constexpr int kReach = 2;
constexpr int kSide = 2 * kReach + 1;
using Window = std::array<int, kSide * kSide>;  // means of blocks, rows from the top

/// How one coefficient follows from the means around: their weighted sum over 256.
struct Estimate {
  int zigzag;    // where the state of its bits is kept
  int position;  // in a block, rows from the top
  std::array<int16_t, kSide * kSide> weights;
};

// clang-format off
/// Where some scans of a component's fine coefficients have come.
constexpr Estimate kFew[] = {
    {1, 1, {0, 0, 0, 0, 0,  0, 0, 0, 0, 0,  -7, 50, 0, -50, 7,  0, 0, 0, 0, 0,  0, 0, 0, 0, 0}},
    {2, 8, {0, 0, -7, 0, 0,  0, 0, 50, 0, 0,  0, 0, 0, 0, 0,  0, 0, -50, 0, 0,  0, 0, 7, 0, 0}},
    {3, 16, {0, 0, -1, 0, 0,  0, 0, 13, 0, 0,  0, 0, -24, 0, 0,  0, 0, 13, 0, 0,  0, 0, -1, 0, 0}},
    {4, 9, {0, -1, 0, 1, 0,  -1, 10, 0, -10, 1,  0, 0, 0, 0, 0,  1, -10, 0, 10, -1,  0, 1, 0, -1, 0}},
    {5, 2, {0, 0, 0, 0, 0,  0, 0, 0, 0, 0,  -1, 13, -24, 13, -1,  0, 0, 0, 0, 0,  0, 0, 0, 0, 0}},
};

/// Where the means are all that has come; then they too are smoothed.
constexpr Estimate kAll[] = {
    {1, 1, {-1, -1, 0, 1, 1,  -3, 13, 0, -13, 3,  -3, 38, 0, -38, 3,  -3, 13, 0, -13, 3,  -1, -1, 0, 1, 1}},
    {2, 8, {-1, -3, -3, -3, -1,  -1, 13, 38, 13, -1,  0, 0, 0, 0, 0,  1, -13, -38, -13, 1,  1, 3, 3, 3, 1}},
    {3, 16, {0, 0, 1, 0, 0,  0, 2, 7, 2, 0,  0, -5, -14, -5, 0,  0, 2, 7, 2, 0,  0, 0, 1, 0, 0}},
    {4, 9, {-1, 0, 0, 0, 1,  0, 9, 0, -9, 0,  0, 0, 0, 0, 0,  0, -9, 0, 9, 0,  1, 0, 0, 0, -1}},
    {5, 2, {0, 0, 0, 0, 0,  0, 2, -5, 2, 0,  1, 7, -14, 7, 1,  0, 2, -5, 2, 0,  0, 0, 0, 0, 0}},
    {6, 3, {0, 0, 0, 0, 0,  0, 1, 0, -1, 0,  0, 2, 0, -2, 0,  0, 1, 0, -1, 0,  0, 0, 0, 0, 0}},
    {7, 10, {0, 0, 0, 0, 0,  0, 1, -3, 1, 0,  0, 0, 0, 0, 0,  0, -1, 3, -1, 0,  0, 0, 0, 0, 0}},
    {8, 17, {0, 0, 0, 0, 0,  0, 1, 0, -1, 0,  0, -3, 0, 3, 0,  0, 1, 0, -1, 0,  0, 0, 0, 0, 0}},
    {9, 24, {0, 0, 0, 0, 0,  0, 1, 2, 1, 0,  0, 0, 0, 0, 0,  0, -1, -2, -1, 0,  0, 0, 0, 0, 0}},
};
constexpr Estimate kMean =
    {0, 0, {-2, -6, -8, -6, -2,  -6, 6, 42, 6, -6,  -8, 42, 152, 42, -8,  -6, 6, 42, 6, -6,  -2, -6, -8, -6, -2}};
// clang-format on

constexpr int kKnown = static_cast<int>(std::size(kAll)) + 1;  // coefficients whose bits matter

/// For each of the first coefficients how many of its low bits are unknown; -1: all.
using Bits = std::array<int, kKnown>;

/// Rounded to the nearest, halves away from zero; within the bits that are unknown.
JCOEF estimate(const Estimate& of, const Window& means, const JQUANT_TBL& quantisers, int unknown_bits) {
  int64_t sum = 0;
  for (size_t i = 0; i < means.size(); ++i) sum += int64_t{of.weights[i]} * means[i];
  sum *= quantisers.quantval[0];
  const int64_t quantiser = quantisers.quantval[of.position];
  int64_t size = ((quantiser << 7) + (sum < 0 ? -sum : sum)) / (quantiser << 8);
  if (unknown_bits > 0) size = std::min(size, (int64_t{1} << unknown_bits) - 1);
  return static_cast<JCOEF>(sum < 0 ? -size : size);
}

template <size_t n>
void fill_in(const Estimate (&estimates)[n], const Window& means, const JQUANT_TBL& quantisers,
             const Bits& bits, JCOEF* block) {
  for (const Estimate& of : estimates) {
    const int unknown = bits[static_cast<size_t>(of.zigzag)];
    if (unknown != 0 && block[of.position] == 0)
      block[of.position] = estimate(of, means, quantisers, unknown);
  }
}

/// Which rows of blocks the window of one row takes. libjpeg-turbo 3 counts rows as if all had as many as the
/// last row of units has, which shows in pictures of two units' height.
std::array<JDIMENSION, kSide> rows_around(const jpeg_decompress_struct& info,
                                          const jpeg_component_info& component, JDIMENSION unit_row,
                                          JDIMENSION row_in_unit) {
  const auto per_unit = static_cast<JDIMENSION>(component.v_samp_factor);
  const bool last = unit_row + 1 == info.total_iMCU_rows;
  const JDIMENSION left_over = component.height_in_blocks % per_unit;
  const JDIMENSION counted = last && left_over > 0 ? left_over : per_unit;
  const JDIMENSION at = unit_row * counted + row_in_unit, end = counted * info.total_iMCU_rows;
  const JDIMENSION row = unit_row * per_unit + row_in_unit;
  const JDIMENSION above = at > 0 ? row - 1 : row, below = at + 1 < end ? row + 1 : row;
  return {at > 1 ? row - 2 : above, above, row, below, at + 2 < end ? row + 2 : below};
}

/// The means of all blocks of a component as its scans brought them. [rows of whole units, blocks of a row]
JCOEF* copy_means(jpeg_decompress_struct& info, const jpeg_component_info& component,
                  jvirt_barray_ptr blocks) {
  auto& common = reinterpret_cast<jpeg_common_struct&>(info);
  const JDIMENSION per_unit = static_cast<JDIMENSION>(component.v_samp_factor);
  const JDIMENSION rows = info.total_iMCU_rows * per_unit, columns = component.width_in_blocks;
  auto* means = static_cast<JCOEF*>(
      info.mem->alloc_large(&common, JPOOL_IMAGE, size_t{rows} * columns * sizeof(JCOEF)));
  for (JDIMENSION y = 0; y < rows; ++y) {
    const JBLOCKROW from = info.mem->access_virt_barray(&common, blocks, y, 1, FALSE)[0];
    for (JDIMENSION x = 0; x < columns; ++x) means[size_t{y} * columns + x] = from[x][0];
  }
  return means;
}

bool only_means_known(const Bits& bits) {
  return std::all_of(bits.begin() + 1, bits.end(), [](int unknown) { return unknown == -1; });
}

void smooth_row(JBLOCKROW row, const JCOEF* means, const std::array<JDIMENSION, kSide>& rows,
                const jpeg_component_info& component, const Bits& bits) {
  const auto columns = static_cast<int>(component.width_in_blocks);
  const bool wide = only_means_known(bits);
  for (int x = 0; x < columns; ++x) {
    Window window;
    for (int dy = 0; dy < kSide; ++dy)
      for (int dx = 0; dx < kSide; ++dx)
        window[static_cast<size_t>(dy * kSide + dx)] =
            means[size_t{rows[static_cast<size_t>(dy)]} * component.width_in_blocks +
                  static_cast<size_t>(std::clamp(x + dx - kReach, 0, columns - 1))];
    const JQUANT_TBL& quantisers = *component.quant_table;
    if (!wide) {
      fill_in(kFew, window, quantisers, bits, row[x]);
      continue;
    }
    fill_in(kAll, window, quantisers, bits, row[x]);
    row[x][0] = estimate(kMean, window, quantisers, 0);
  }
}

/// Rows behind the last that the last scan reached know what the scans before it brought.
Bits bits_of(const jpeg_decompress_struct& info, int component, bool reached) {
  Bits bits;
  const int* of_library = info.coef_bits[component + (reached ? 0 : info.num_components)];
  std::copy_n(of_library, kKnown, bits.begin());
  if (!reached && info.input_scan_number <= 1) std::fill(bits.begin() + 1, bits.end(), -1);
  return bits;
}

void smooth_component(jpeg_decompress_struct& info, int index, jvirt_barray_ptr blocks) {
  auto& common = reinterpret_cast<jpeg_common_struct&>(info);
  const jpeg_component_info& component = info.comp_info[index];
  const JCOEF* means = copy_means(info, component, blocks);
  const auto per_unit = static_cast<JDIMENSION>(component.v_samp_factor);
  for (JDIMENSION y = 0; y < component.height_in_blocks; ++y) {
    const JBLOCKROW row = info.mem->access_virt_barray(&common, blocks, y, 1, TRUE)[0];
    const bool reached = y / per_unit <= info.master->last_good_iMCU_row;
    smooth_row(row, means, rows_around(info, component, y / per_unit, y % per_unit), component,
               bits_of(info, index, reached));
  }
}

bool has_quantisers(const jpeg_component_info& component) {
  if (component.quant_table == nullptr || component.quant_table->quantval[0] == 0) return false;
  return std::all_of(std::begin(kAll), std::end(kAll), [&](const Estimate& estimate) {
    return component.quant_table->quantval[estimate.position] != 0;
  });
}

/// Something is missing, and what the guesses need is there in every component.
bool can_be_smoothed(const jpeg_decompress_struct& info) {
  if (!info.progressive_mode || info.coef_bits == nullptr) return false;
  bool missing = false;
  for (int c = 0; c < info.num_components; ++c) {
    const int* bits = info.coef_bits[c];
    if (!has_quantisers(info.comp_info[c]) || bits[0] < 0) return false;
    missing = missing || std::any_of(bits + 1, bits + kKnown, [](int unknown) { return unknown != 0; });
  }
  return missing;
}

}  // namespace

void smooth_blocks(jpeg_decompress_struct& info) {
  info.do_block_smoothing = FALSE;
  if (!can_be_smoothed(info)) return;
  jvirt_barray_ptr* const blocks = jpeg_read_coefficients(&info);
  for (int c = 0; c < info.num_components; ++c) smooth_component(info, c, blocks[c]);
}

}  // namespace lapidary
