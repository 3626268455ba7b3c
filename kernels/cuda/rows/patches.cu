#include "kernels/cuda/rows/patches.h"

#include <cuda_platform.h>

#include "kernels/cuda/rows/row_access.cuh"
#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {
namespace {

/// A row of y is a patch, its columns are (channel, ky, kx).
template <class Y>
__global__ void patchify_rows(RowsOf<Y> y, const uint8_t* rgb, int size, int patch, const float* value_of,
                              bool aligned) {
  constexpr int kN = kChunk<Y>;
  const int64_t c = first_column(kN), cols = kChannels * patch * patch;
  if (c >= cols) return;
  const int grid = size / patch, band = static_cast<int>(blockIdx.x) / grid;
  const int column = static_cast<int>(blockIdx.x) % grid;
  const uint8_t* corner = rgb + (static_cast<int64_t>(band) * patch * size + column * patch) * kChannels;
  float v[kN];
  for (int i = 0; i < kN; ++i) {
    const int at = static_cast<int>(c) + i;
    const int channel = at / (patch * patch), ky = at / patch % patch, kx = at % patch;
    v[i] = at < cols ? value_of[corner[(static_cast<int64_t>(ky) * size + kx) * kChannels + channel]] : 0.0f;
  }
  store_chunk(y.row(blockIdx.x) + c, v, cols - c, aligned);
}

/// y[r] = row (ids[r] - first_id) of table times factor, zeros where the table has no such row.
template <class Y, class W>
__global__ void embed_rows(EarlyStart, RowsOf<Y> y, RowsOf<const W> table, int64_t rows, int64_t cols,
                           const int32_t* ids, RowsOf<const int32_t> token_table, int64_t slots,
                           int64_t first_id, float factor, bool aligned) {
  ptx::follow_previous();
  constexpr int kN = kChunk<Y, W>;
  const int64_t c = first_column(kN);
  if (c >= cols) return;
  int64_t id = ids[blockIdx.x];
  if (id < 0 && -1 - id < slots) id = *token_table.row(-1 - id);  // Backend::token_slot_id
  id -= first_id;
  float v[kN] = {};
  if (id >= 0 && id < rows) load_chunk(v, table.row(id) + c, cols - c, aligned);
  for (int i = 0; i < kN; ++i) v[i] = 0.0f + v[i] * factor;  // never a -0: ranks add these rows up
  store_chunk(y.row(blockIdx.x) + c, v, cols - c, aligned);
}

}  // namespace

void patchify(Stream stream, Tensor y, const uint8_t* rgb, int64_t size, int64_t patch,
              const float* value_of) {
  require_rows("patchify", y);
  require(patch > 0 && size >= patch && size <= (1 << 20), "patchify", "the image must hold a patch");
  require(y.rows() % (size / patch) == 0 && y.cols() == kChannels * patch * patch, "patchify",
          "y must be [patches, channels * patch * patch]");
  if (y.rows() == 0) return;
  with_type(y, [&]<class Y>(Y) {
    constexpr int kN = kChunk<Y>;
    const RowGrid grid(y.rows(), chunks_of(y.cols(), kN));
    launch(stream, grid.blocks, grid.threads, 0, patchify_rows<Y>, rows_of<Y>(y), rgb, static_cast<int>(size),
           static_cast<int>(patch), value_of, chunk_aligned(y, kN));
  });
}

void embed(Stream stream, Tensor y, Tensor table, const int32_t* ids, Tensor token_table, int64_t first_id,
           float factor) {
  require_rows("embed", y);
  require_rows("embed", table);
  require(y.cols() == table.cols(), "embed", "y must have the columns of the table");
  require(token_table.rows() == 0 || (token_table.dtype == DType::i32 && token_table.cols() == 1), "embed",
          "token_table is int32 [slots, 1]");
  if (y.rows() == 0 || y.cols() == 0) return;
  with_type(y, [&]<class Y>(Y) {
    with_type(table, [&]<class W>(W) {
      constexpr int kN = kChunk<Y, W>;
      const RowGrid grid(y.rows(), chunks_of(y.cols(), kN));
      launch(stream, grid.blocks, grid.threads, 0, embed_rows<Y, W>, rows_of<Y>(y), rows_of<const W>(table),
             table.rows(), y.cols(), ids, rows_of<const int32_t>(token_table), token_table.rows(), first_id,
             factor, chunk_aligned(y, kN) && chunk_aligned(table, kN));
    });
  });
}

}  // namespace lapidary::cuda
