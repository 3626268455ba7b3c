#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda/runtime/step_table.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// Where things lie in a page of keys and values. A page holds, one KV head after another, the keys
/// [kPageTokens, row] and then the values [kPageTokens, row]; a row is head_dim elements and zeros up to a
/// multiple of 16 bytes. So one tile of a kernel is one stretch of memory.
struct PageLayout {
  /// Throws std::logic_error where a cache can't have this shape.
  explicit PageLayout(const KvShape& shape);

  constexpr std::byte* keys(std::byte* pages, int64_t page, int64_t kv_head) const {
    return pages + page * page_bytes + kv_head * 2 * tile_bytes;
  }
  constexpr const std::byte* keys(const std::byte* pages, int64_t page, int64_t kv_head) const {
    return pages + page * page_bytes + kv_head * 2 * tile_bytes;
  }

  int head_dim;
  int row;             // elements
  int64_t tile_bytes;  // keys or values of one head; the values follow the keys
  int64_t page_bytes;
};

size_t page_bytes(const KvShape& shape);

/// Writes k, v [rows, kv_heads * head_dim] (float32 or bfloat16) of the spans' new rows to their pages,
/// rounded to the cache's type. No other byte of a page changes: the kernels never read a token that was not
/// written.
void store_kv(Stream stream, std::byte* pages, const KvShape& shape, const StepTable& table, Tensor k,
              Tensor v);

}  // namespace lapidary::cuda
