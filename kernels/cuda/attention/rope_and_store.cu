#include "kernels/cuda/attention/rope_and_store.h"

#include <cuda_platform.h>

#include "kernels/cuda/attention/kv_pages.h"
#include "kernels/cuda/rows/row_access.cuh"
#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kN = 8;  // columns at a time: 16 bytes of bfloat16
constexpr int64_t kTokens = KvShape::kPageTokens;

/// What a thread does with a row is one of rotated() + stored() items: eight pairs (j, j + half) of a head of
/// q or k, then eight columns of a head of v.
struct QkvShape {
  int heads, kv_heads, head_dim, half;
  int half_chunks, row_chunks;  // of a head of q or k, of a row of the cache

  QkvShape(int64_t heads_, const KvShape& shape, const PageLayout& layout)
      : heads(static_cast<int>(heads_)),
        kv_heads(static_cast<int>(shape.kv_heads)),
        head_dim(layout.head_dim),
        half(layout.head_dim / 2),
        half_chunks((half + kN - 1) / kN),
        row_chunks((layout.row + kN - 1) / kN) {}

  constexpr int rotated() const { return (heads + kv_heads) * half_chunks; }
  constexpr int items() const { return rotated() + kv_heads * row_chunks; }
};

/// a, b = the pairs of one head from column j on, rotated.
template <class X>
__device__ __forceinline__ void rotate(float (&a)[kN], float (&b)[kN], const X* head, const float* angles,
                                       int half, int j, bool aligned) {
  float c[kN], s[kN];
  load_chunk(a, head + j, half - j, aligned);
  load_chunk(b, head + half + j, half - j, aligned);
  load_chunk(c, angles + j, half - j, aligned);
  load_chunk(s, angles + half + j, half - j, aligned);
  LAPIDARY_UNROLL
  for (int i = 0; i < kN; ++i) {
    const float first = a[i];
    a[i] = first * c[i] - b[i] * s[i];
    b[i] = b[i] * c[i] + first * s[i];
  }
}

/// Blocks (row tile, part of its items).
template <class X, class Cached>
__global__ void __launch_bounds__(kThreads)
    rope_and_store_rows(EarlyStart, RowsOf<X> qkv, QkvShape shape, RowsOf<const float> cos_sin,
                        const int32_t* positions, std::byte* pages, PageLayout layout, StepView table,
                        bool aligned) {
  ptx::follow_previous();
  for (int t = static_cast<int>(blockIdx.x); t < table.counts->tiles; t += static_cast<int>(gridDim.x)) {
    const RowTile tile = table.tiles[t];
    const StepSpan span = table.spans[tile.span];
    const int rows = min(static_cast<int>(StepTable::kTileRows), span.rows - tile.first_row);
    for (int i = static_cast<int>(blockIdx.y * kThreads + threadIdx.x); i < rows * shape.items();
         i += static_cast<int>(gridDim.y) * kThreads) {
      const int row = tile.first_row + i / shape.items(), item = i % shape.items();
      X* x = qkv.row(span.first_row + row);
      const int token = span.position + row;
      const auto place = [&](int kv_head, int64_t values) {
        const int page = table.pages[span.first_page + token / static_cast<int>(kTokens)];
        return reinterpret_cast<Cached*>(layout.keys(pages, page, kv_head) + values * layout.tile_bytes) +
               token % kTokens * layout.row;
      };
      if (item >= shape.rotated()) {
        const int at = item - shape.rotated(), head = at / shape.row_chunks, c = at % shape.row_chunks * kN;
        float v[kN];
        load_chunk(v, x + (shape.heads + shape.kv_heads + head) * shape.head_dim + c, shape.head_dim - c,
                   aligned);
        store_chunk(place(head, 1) + c, v, layout.row - c, true);
        continue;
      }
      const int head = item / shape.half_chunks, j = item % shape.half_chunks * kN, left = shape.half - j;
      X* of_head = x + head * shape.head_dim;
      float a[kN], b[kN];
      rotate(a, b, of_head, cos_sin.row(positions[span.first_row + row]), shape.half, j, aligned);
      if (head < shape.heads) {
        store_chunk(of_head + j, a, left, aligned);
        store_chunk(of_head + shape.half + j, b, left, aligned);
      } else {
        Cached* key = place(head - shape.heads, 0);
        store_chunk(key + j, a, left, aligned);
        store_chunk(key + shape.half + j, b, left, aligned);
        if (left <= kN)
          for (int c = shape.head_dim; c < layout.row; ++c) narrow(key[c], 0);
      }
    }
  }
}

}  // namespace

void rope_and_store(Stream stream, Tensor qkv, int64_t heads, Tensor cos_sin, const int32_t* positions,
                    std::byte* pages, const KvShape& shape, const StepTable& table) {
  require_rows("rope_and_store", qkv);
  require_f32("rope_and_store", cos_sin);
  const PageLayout layout(shape);
  require(
      shape.head_dim % 2 == 0 && heads >= 0 && qkv.cols() == (heads + 2 * shape.kv_heads) * shape.head_dim,
      "rope_and_store", "rows are heads of q, then the KV heads of k and of v, of an even size");
  require(cos_sin.cols() == shape.head_dim, "rope_and_store", "a table of head_dim columns is wanted");
  require(table.end_row() <= qkv.rows(), "rope_and_store", "a span's rows lie outside the tensor");
  const auto tiles = std::max<int64_t>(table.counts().tiles, table.decode_spans());
  if (tiles == 0) return;
  const QkvShape split(heads, shape, layout);
  // As many parts as give each thread one item of a decoded row.
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(chunks_of(split.items(), kThreads)));
  with_type(qkv, [&]<class X>(X) {
    // Halves of whole chunks: then each chunk of q, k, v and of a page begins at a multiple of 16 bytes.
    const bool aligned = split.half % kN == 0 && chunk_aligned(qkv, kN) && chunk_aligned(cos_sin, kN);
    launch(stream, grid, kThreads, 0,
           shape.dtype == DType::bf16 ? rope_and_store_rows<X, uint16_t> : rope_and_store_rows<X, float>,
           rows_of<X>(qkv), split, rows_of<const float>(cos_sin), positions, pages, layout, table.view(),
           aligned);
  });
}

}  // namespace lapidary::cuda
