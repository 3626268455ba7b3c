#include "kernels/cuda/attention/kv_pages.h"

#include <cuda_platform.h>

#include <stdexcept>

#include "kernels/cuda/attention/head_rows.cuh"

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kTokens = KvShape::kPageTokens;

__device__ void store_eight(uint16_t* to, const float (&x)[8]) {
  *reinterpret_cast<uint4*>(to) = round_eight(x);
}
/// A row of float32 may end after four.
__device__ void store_eight(float* to, const float (&x)[8], bool both) {
  reinterpret_cast<float4*>(to)[0] = make_float4(x[0], x[1], x[2], x[3]);
  if (both) reinterpret_cast<float4*>(to)[1] = make_float4(x[4], x[5], x[6], x[7]);
}

/// k, v [rows, kv_heads * head_dim] → pages. Block (tile, 0 or 1): a row tile's keys or values; a thread
/// takes eight neighbours at a time.
template <class Cached>
__global__ void store_rows(EarlyStart, std::byte* pages, PageLayout layout, int kv_heads, StepView table,
                           HeadRows k, HeadRows v) {
  ptx::follow_previous();
  const HeadRows from = blockIdx.y == 0 ? k : v;
  const int chunks = (layout.row + 7) / 8;
  for (int t = static_cast<int>(blockIdx.x); t < table.counts->tiles; t += static_cast<int>(gridDim.x)) {
    const RowTile tile = table.tiles[t];
    const StepSpan span = table.spans[tile.span];
    const int rows = min(static_cast<int>(StepTable::kTileRows), span.rows - tile.first_row);
    for (int i = static_cast<int>(threadIdx.x); i < rows * kv_heads * chunks; i += kThreads) {
      const int column = i % chunks * 8, head = i / chunks % kv_heads;
      const int row = tile.first_row + i / chunks / kv_heads, token = span.position + row;
      float x[8];
      load_eight(x, from, from.at(span.first_row + row, head), column);
      const int page = table.pages[span.first_page + token / static_cast<int>(kTokens)];
      std::byte* tile_of_head = layout.keys(pages, page, head) + blockIdx.y * layout.tile_bytes;
      Cached* to = reinterpret_cast<Cached*>(tile_of_head) + token % kTokens * layout.row + column;
      if constexpr (sizeof(Cached) == 2)
        store_eight(to, x);
      else
        store_eight(to, x, column + 8 <= layout.row);
    }
  }
}

}  // namespace

PageLayout::PageLayout(const KvShape& shape) : head_dim(static_cast<int>(shape.head_dim)) {
  if (shape.dtype != DType::f32 && shape.dtype != DType::bf16)
    throw std::logic_error("KvShape: a cache is float32 or bfloat16");
  if (shape.kv_heads <= 0 || shape.head_dim <= 0 || shape.head_dim > 256)
    throw std::logic_error("KvShape: heads above 0 and head_dim from 1 to 256");
  const int unit = shape.dtype == DType::bf16 ? 8 : 4;  // 16 bytes
  row = (head_dim + unit - 1) / unit * unit;
  tile_bytes = kTokens * row * static_cast<int64_t>(size_of(shape.dtype));
  page_bytes = 2 * tile_bytes * shape.kv_heads;
}

size_t page_bytes(const KvShape& shape) { return static_cast<size_t>(PageLayout(shape).page_bytes); }

void store_kv(Stream stream, std::byte* pages, const KvShape& shape, const StepTable& table, Tensor k,
              Tensor v) {
  const bool floats =
      (k.dtype == DType::f32 || k.dtype == DType::bf16) && (v.dtype == DType::f32 || v.dtype == DType::bf16);
  if (!floats || k.shape != v.shape || k.cols() != shape.kv_heads * shape.head_dim)
    throw std::logic_error("store_kv: k and v must be float32 or bfloat16 [rows, kv_heads * head_dim]");
  if (table.end_row() > k.rows()) throw std::logic_error("a span's rows lie outside the tensor");
  const PageLayout layout(shape);
  const auto tiles = std::max<int64_t>(table.counts().tiles, table.decode_spans());
  if (tiles == 0) return;
  launch(stream, dim3(static_cast<unsigned>(tiles), 2), kThreads, 0,
         shape.dtype == DType::bf16 ? store_rows<uint16_t> : store_rows<float>, pages, layout,
         static_cast<int>(shape.kv_heads), table.view(), HeadRows(k, shape.head_dim),
         HeadRows(v, shape.head_dim));
}

}  // namespace lapidary::cuda
