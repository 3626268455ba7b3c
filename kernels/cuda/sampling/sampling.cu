#include "kernels/cuda/sampling/sampling.h"

#include <cuda_platform.h>

#include "kernels/cuda/rows/row_access.cuh"
#include "kernels/cuda/runtime/require.h"
#include "kernels/cuda/sampling/noise.cuh"

namespace lapidary::cuda {
namespace {

struct RowDraw {
  uint64_t stream;    // of the row's numbers
  float temperature;  // 0: the row stays
};

/// logits [rows, cols] = logits / temperature + noise(stream, first_token + column)
__global__ void perturb_rows(EarlyStart, RowsOf<float> logits, int64_t cols, int64_t first_token,
                             const RowDraw* sampling, bool aligned) {
  ptx::follow_previous();
  constexpr int kN = kChunk<float>;
  const int64_t c = first_column(kN);
  const RowDraw draw = sampling[blockIdx.x];
  if (c >= cols || draw.temperature == 0) return;
  float* at = logits.row(blockIdx.x) + c;
  float v[kN];
  load_chunk(v, at, cols - c, aligned);
  for (int i = 0; i < kN; ++i) v[i] = v[i] / draw.temperature + noise_of(draw.stream, first_token + c + i);
  store_chunk(at, v, cols - c, aligned);
}

}  // namespace

void add_gumbel_noise(Stream stream, Staging& staging, Tensor logits, int64_t first_token,
                      std::span<const SamplingParams> sampling) {
  require_f32("add_gumbel_noise", logits);
  require(static_cast<int64_t>(sampling.size()) == logits.rows(), "add_gumbel_noise",
          "one SamplingParams a row of logits");
  for (const SamplingParams& draw : sampling)
    require(draw.temperature >= 0, "add_gumbel_noise", "a temperature is 0 or above");
  if (logits.rows() == 0 || logits.cols() == 0) return;
  std::vector<RowDraw> rows;
  rows.reserve(sampling.size());
  for (const SamplingParams& draw : sampling)
    rows.push_back({noise_stream(draw), draw.restricted() ? 0 : draw.temperature});
  const RowGrid grid(logits.rows(), chunks_of(logits.cols(), kChunk<float>));
  launch(stream, grid.blocks, grid.threads, 0, perturb_rows, rows_of<float>(logits), logits.cols(),
         first_token, staging.upload(std::span<const RowDraw>(rows)), chunk_aligned(logits, kChunk<float>));
}

}  // namespace lapidary::cuda
