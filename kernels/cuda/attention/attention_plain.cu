#include <cuda_platform.h>

#include <cstdint>

#include "kernels/cuda/attention/attention_call.h"
#include "kernels/cuda/attention/head_rows.cuh"
#include "kernels/cuda/attention/softmax_weights.cuh"

// Attention without tensor cores: float32 throughout, functions of full accuracy, any cache. What the other
// kernels are compared with, and the way of a float32 cache.

namespace lapidary::cuda {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps, kMaxColumns = 256;

struct WarpMemory {
  float query[kMaxColumns];
  float weights[32];
};

/// 16 bytes of a key or value: eight or four elements.
__device__ void load_word(float (&to)[8], const uint16_t* from) {
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  const uint32_t pairs[4] = {v.x, v.y, v.z, v.w};
  for (int i = 0; i < 8; ++i) to[i] = from_bf16(static_cast<uint16_t>(pairs[i / 2] >> (16 * (i % 2))));
}
__device__ void load_word(float (&to)[4], const float* from) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}

template <class Cached>
__device__ const Cached* keys_at(const AttentionCall& call, const StepSpan& span, int64_t token,
                                 int kv_head) {
  const auto page = static_cast<int>(token / KvShape::kPageTokens);
  return reinterpret_cast<const Cached*>(call.keys(span, page, kv_head)) +
         token % KvShape::kPageTokens * call.layout.row;
}

/// Score of one key, capped and scaled.
template <class Cached>
__device__ float score(const float* query, const Cached* key, const AttentionCall& call) {
  constexpr int kWord = static_cast<int>(16 / sizeof(Cached));
  float sum = 0;
  for (int column = 0; column < call.layout.row; column += kWord) {
    float k[kWord];
    load_word(k, key + column);
    for (int i = 0; i < kWord; ++i) sum = fmaf(query[column + i], k[i], sum);
  }
  sum *= call.scale;
  return call.softcap > 0 ? call.softcap * tanhf(sum / call.softcap) : sum;
}

__device__ float warp_max(float x) {
  for (int bits = 16; bits > 0; bits /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, bits));
  return x;
}
__device__ float warp_sum(float x) {
  for (int bits = 16; bits > 0; bits /= 2) x += __shfl_xor_sync(kAllLanes, x, bits);
  return x;
}

/// One row and head, by one warp: 32 keys at a time, a lane a key; then a lane every 32nd column of the
/// values.
template <class Cached>
__device__ void attend_row(const AttentionCall& call, const StepSpan& span, int row, int head,
                           WarpMemory& memory) {
  const int lane = static_cast<int>(threadIdx.x) % 32, kv_head = (head + call.head_offset) / call.group;
  const KeyRange keys = call.keys_of(span, row);
  float q[8] = {};
  if (8 * lane < call.layout.head_dim) load_eight(q, call.q, call.q.at(span.first_row + row, head), 8 * lane);
  for (int i = 0; i < 8; ++i)  // as the other kernels do over a bfloat16 cache
    memory.query[8 * lane + i] = sizeof(Cached) == 2 ? from_bf16(to_bf16(q[i])) : q[i];
  __syncwarp();

  float largest = -INFINITY, sum = 0, out[kMaxColumns / 32] = {};
  for (int64_t first = keys.begin / 32 * 32; first < keys.end; first += 32) {
    const int64_t key = first + lane;
    const bool seen = key >= keys.begin && key < keys.end;
    const float s = seen ? score(memory.query, keys_at<Cached>(call, span, key, kv_head), call) : -INFINITY;
    const float now = fmaxf(largest, warp_max(s));
    const float shrink = expf(largest - now), weight = expf(s - now);
    largest = now;
    sum = fmaf(sum, shrink, weight);
    memory.weights[lane] = weight;
    __syncwarp();
    for (float& x : out) x *= shrink;
    const int64_t end = min(keys.end, first + 32);
    for (int64_t k = max(keys.begin, first); k < end; ++k) {
      const Cached* value = keys_at<Cached>(call, span, k, kv_head) + KvShape::kPageTokens * call.layout.row;
      const float w = memory.weights[k - first];
      for (int i = 0; i < kMaxColumns / 32; ++i) {
        const int column = lane + 32 * i;
        if (column >= call.layout.head_dim) break;
        if constexpr (sizeof(Cached) == 2)
          out[i] = fmaf(w, from_bf16(value[column]), out[i]);
        else
          out[i] = fmaf(w, value[column], out[i]);
      }
    }
    __syncwarp();
  }
  sum = warp_sum(sum);
  const int64_t to = call.out.at(span.first_row + row, head);
  for (int i = 0; i < kMaxColumns / 32; ++i)
    if (lane + 32 * i < call.layout.head_dim) store_one(call.out, to + lane + 32 * i, out[i] / sum);
}

/// Block (row tile, head).
template <class Cached>
__global__ void plain(EarlyStart, const AttentionCall call) {
  ptx::follow_previous();
  const int warp = static_cast<int>(threadIdx.x) / 32, head = static_cast<int>(blockIdx.y);
  WarpMemory& memory = shared_memory<WarpMemory>()[warp];
  for (int t = static_cast<int>(blockIdx.x); t < call.table.counts->tiles; t += static_cast<int>(gridDim.x)) {
    const RowTile tile = call.table.tiles[t];
    const StepSpan span = call.table.spans[tile.span];
    const int end = min(tile.first_row + static_cast<int>(StepTable::kTileRows), span.rows);
    for (int row = tile.first_row + warp; row < end; row += kWarps)
      attend_row<Cached>(call, span, row, head, memory);
  }
}

}  // namespace

void attend_plain(Stream stream, const AttentionCall& call, DType cache, const StepTable& table) {
  const auto tiles = std::max<int64_t>(table.counts().tiles, table.decode_spans());
  if (tiles == 0) return;
  launch(stream, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(call.heads)), kThreads,
         kWarps * sizeof(WarpMemory), cache == DType::bf16 ? plain<uint16_t> : plain<float>, call);
}

}  // namespace lapidary::cuda
