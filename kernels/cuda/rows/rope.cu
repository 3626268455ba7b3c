#include "kernels/cuda/rows/rope.h"

#include <cuda_platform.h>

#include "kernels/cuda/rows/row_access.cuh"
#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {
namespace {

/// x [rows, heads * 2 half]: a thread turns a chunk of pairs (j, j + half) of one head. `chunks`: of half.
template <class X>
__global__ void rope_rows(EarlyStart, RowsOf<X> x, int64_t heads, int64_t half, int64_t chunks,
                          RowsOf<const float> table, const int32_t* positions, bool aligned) {
  ptx::follow_previous();
  constexpr int kN = kChunk<X, float>;
  const int64_t index = first_column(1);
  if (index >= heads * chunks) return;
  const int64_t j = index % chunks * kN, left = half - j;
  X* low = x.row(blockIdx.x) + index / chunks * 2 * half + j;
  const float* cosines = table.row(positions[blockIdx.x]) + j;
  float a[kN], b[kN], c[kN], s[kN];
  load_chunk(a, low, left, aligned);
  load_chunk(b, low + half, left, aligned);
  load_chunk(c, cosines, left, aligned);
  load_chunk(s, cosines + half, left, aligned);
  for (int i = 0; i < kN; ++i) {
    const float first = a[i];
    a[i] = first * c[i] - b[i] * s[i];
    b[i] = b[i] * c[i] + first * s[i];
  }
  store_chunk(low, a, left, aligned);
  store_chunk(low + half, b, left, aligned);
}

}  // namespace

void rope(Stream stream, Tensor x, int64_t head_dim, Tensor cos_sin, const int32_t* positions) {
  require_rows("rope", x);
  require_f32("rope", cos_sin);
  require(head_dim > 0 && head_dim % 2 == 0 && x.cols() % head_dim == 0, "rope",
          "rows must be whole heads of even size");
  require(cos_sin.cols() == head_dim, "rope", "a table of head_dim columns is wanted");
  if (x.rows() == 0 || x.cols() == 0) return;
  with_type(x, [&]<class X>(X) {
    constexpr int kN = kChunk<X, float>;
    const int64_t heads = x.cols() / head_dim, half = head_dim / 2, chunks = chunks_of(half, kN);
    const RowGrid grid(x.rows(), heads * chunks);
    launch(stream, grid.blocks, grid.threads, 0, rope_rows<X>, rows_of<X>(x), heads, half, chunks,
           rows_of<const float>(cos_sin), positions,
           half % kN == 0 && chunk_aligned(x, kN) && chunk_aligned(cos_sin, kN));
  });
}

}  // namespace lapidary::cuda
