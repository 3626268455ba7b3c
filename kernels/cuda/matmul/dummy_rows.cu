#include "kernels/cuda/matmul/dummy_rows.h"

#include <cuda_platform.h>

#include "kernels/cuda/rows/row_access.cuh"
#include "kernels/cuda/runtime/require.h"

namespace lapidary::cuda {
namespace {

/// Every number fits in bfloat16, so rounding changes none.
template <class Y>
__global__ void dummy_rows(WeightRows to, DummyValues made, int64_t first_row, uint32_t first_col,
                           bool aligned) {
  constexpr int kN = kChunk<Y>;
  const int64_t c = first_column(kN);
  if (c >= to.cols) return;
  const uint32_t key = row_key(made, first_row + blockIdx.x);
  float v[kN];
  for (int i = 0; i < kN; ++i) v[i] = number_at(made, key, first_col + static_cast<uint32_t>(c + i));
  Y* row = reinterpret_cast<Y*>(to.data + to.place(blockIdx.x) * to.pitch);
  store_chunk(row + c, v, to.cols - c, aligned);
}

}  // namespace

void make_rows(Stream stream, const WeightRows& to, const DummyValues& made, int64_t first_row,
               int64_t first_col) {
  const auto element = static_cast<int64_t>(size_of(to.dtype));
  require((to.dtype == DType::f32 || to.dtype == DType::bf16) && to.pitch % element == 0, "make_rows",
          "rows of float32 or bfloat16 are wanted");
  if (to.rows == 0 || to.cols == 0) return;
  const Tensor y{to.data, to.dtype, {to.rows, to.cols}, to.pitch / element};
  with_type(y, [&]<class Y>(Y) {
    constexpr int kN = kChunk<Y>;
    const RowGrid grid(y.rows(), chunks_of(y.cols(), kN));
    launch(stream, grid.blocks, grid.threads, 0, dummy_rows<Y>, to, made, first_row,
           static_cast<uint32_t>(first_col), chunk_aligned(y, kN));
  });
}

}  // namespace lapidary::cuda
