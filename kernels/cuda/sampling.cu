#include "kernels/cuda/sampling.h"

#include <cuda_platform.h>

#include "kernels/cuda/require.h"
#include "kernels/cuda/row_access.cuh"

namespace lapidary::cuda {
namespace {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
__host__ __device__ uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// ln x for positive, normal x, 2 ulp: x = m 2^k with m in [sqrt(1/2), sqrt(2)). kernels/cpu/math.h,
/// operation for operation.
__device__ float natural_log(float x) {
  const auto bits = static_cast<int32_t>(__float_as_uint(x));
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const auto k = static_cast<float>(exponent);
  const float t = __uint_as_float(static_cast<uint32_t>(bits - exponent * (1 << 23))) - 1;
  float p = -7.63449398e-2f;
  p = fmaf(p, t, 1.27615745e-1f);
  p = fmaf(p, t, -1.31601822e-1f);
  p = fmaf(p, t, 1.42017584e-1f);
  p = fmaf(p, t, -1.66233574e-1f);
  p = fmaf(p, t, 2.00012269e-1f);
  p = fmaf(p, t, -2.50008210e-1f);
  p = fmaf(p, t, 3.33333317e-1f);
  const float tt = t * t;
  float y = fmaf(tt * t, p, k * -2.12194440e-4f);
  y = fmaf(-0.5f, tt, y);
  return fmaf(k, 0.693359375f, t + y);
}

/// -log(-log(u)) with u = (bits + 1/2) / 2^32. From the upper half on 1 - u is what float32 holds well: its
/// small part is added behind the logarithm.
__device__ float gumbel(uint32_t bits) {
  const bool above = bits >> 31 != 0;
  const float distance = (static_cast<float>(static_cast<int32_t>(above ? ~bits : bits)) + 0.5f) * 0x1p-32f;
  const float u = above ? 1 - distance : distance;
  const float lost = above ? (1 - u) - distance : 0.0f;
  return 0.0f - natural_log(0.0f - (natural_log(u) + lost / u));
}

struct RowDraw {
  uint64_t stream;    // of the row's numbers
  float temperature;  // 0: the row stays
};

/// logits [rows, cols] = logits / temperature + noise(stream, first_token + column)
__global__ void perturb_rows(RowsOf<float> logits, int64_t cols, int64_t first_token, const RowDraw* draws,
                             bool aligned) {
  constexpr int kN = kChunk<float>;
  const int64_t c = first_column(kN);
  const RowDraw draw = draws[blockIdx.x];
  if (c >= cols || draw.temperature == 0) return;
  float* at = logits.row(blockIdx.x) + c;
  float v[kN];
  load_chunk(v, at, cols - c, aligned);
  for (int i = 0; i < kN; ++i) {
    const uint64_t number = draw.stream + static_cast<uint64_t>(first_token + c + i + 1) * kGolden;
    v[i] = v[i] / draw.temperature + gumbel(static_cast<uint32_t>(mix(number) >> 32));
  }
  store_chunk(at, v, cols - c, aligned);
}

}  // namespace

void perturb(Stream stream, Staging& staging, Tensor logits, int64_t first_token,
             std::span<const Backend::Draw> draws) {
  require_f32("perturb", logits);
  require(static_cast<int64_t>(draws.size()) == logits.rows(), "perturb", "one draw a row of logits");
  for (const Backend::Draw& draw : draws)
    require(draw.temperature >= 0, "perturb", "a temperature is 0 or above");
  if (logits.rows() == 0 || logits.cols() == 0) return;
  std::vector<RowDraw> rows;
  rows.reserve(draws.size());
  for (const Backend::Draw& draw : draws)
    rows.push_back({mix(mix(draw.seed + kGolden) + static_cast<uint64_t>(draw.position)), draw.temperature});
  const RowGrid grid(logits.rows(), chunks_of(logits.cols(), kChunk<float>));
  launch(stream, grid.blocks, grid.threads, 0, perturb_rows, rows_of<float>(logits), logits.cols(),
         first_token, staging.upload(std::span<const RowDraw>(rows)), chunk_aligned(logits, kChunk<float>));
}

}  // namespace lapidary::cuda
