#include <cuda_platform.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/cuda/rows/row_access.cuh"
#include "kernels/cuda/runtime/require.h"
#include "kernels/cuda/sampling/candidates.cuh"
#include "kernels/cuda/sampling/noise.cuh"
#include "kernels/cuda/sampling/sampling.h"
#include "kernels/draw.h"

// Sampling that stays on the device: logits → candidates → tokens → the token_table that the next step's
// embedding reads. Nothing here asks the host for anything.

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kSlice = 4096;  // columns of a block
constexpr int kListed = Backend::kMaxCandidates;
constexpr int32_t kNoToken = kNoCandidate.token;
static_assert(kListed <= kThreads);

__device__ int64_t candidates_of(const SamplingParams& draw) { return draw.restricted() ? draw.top_k : 1; }

/// Rows of lists: `width` candidates each.
struct Lists {
  Candidate* data;
  int64_t stride;  // candidates

  __device__ Candidate* row(int64_t r) const { return data + r * stride; }
};

/// What the logits of a row are compared by.
struct RowValue {
  float cap, temperature;
  uint64_t stream;

  __device__ RowValue(float cap_, const SamplingParams& draw)
      : cap(cap_), temperature(draw.restricted() ? 0 : draw.temperature), stream(noise_stream(draw)) {}
  __device__ float operator()(float x, int64_t token) const {
    if (cap > 0) x = cap * tanhf(x / cap);
    return temperature > 0 ? x / temperature + noise_of(stream, token) : x;
  }
};

struct SelectBlock {
  Search search;
  uint64_t of_warps[kThreads / 32];
  alignas(16) uint64_t keys[kSlice];
};

/// Block (slice, row): the slice's best keys, zeros behind them. found [rows, slices, width]
__global__ void best_of_slices(EarlyStart, RowsOf<const float> logits, int64_t cols, int64_t first_token,
                               float cap, const SamplingParams* sampling, uint64_t* found, int64_t width) {
  ptx::follow_previous();
  auto& block = *shared_memory<SelectBlock>();
  const SamplingParams draw = sampling[blockIdx.y];
  const RowValue value(cap, draw);
  const int64_t begin = blockIdx.x * kSlice, size = min(kSlice, cols - begin);
  const float* row = logits.row(blockIdx.y) + begin;
  uint64_t* to = found + (static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x) * width;
  const auto key_at = [&](int64_t i) {
    const int64_t token = first_token + begin + i;
    return key_of(value(row[i], token), token);
  };
  const int64_t k = min(candidates_of(draw), size);
  if (k == 1) {
    uint64_t best = 0;  // below every candidate
    for (int64_t i = threadIdx.x; i < size; i += kThreads) best = max(best, key_at(i));
    best = largest_of_block<kThreads>(best, block.of_warps);
    if (threadIdx.x == 0) to[0] = best;
  } else {
    for (int64_t i = threadIdx.x; i < size; i += kThreads) block.keys[i] = key_at(i);
    __syncthreads();
    take_largest<kThreads>(
        block.search, size, k, [&](int64_t i) { return block.keys[i]; },
        [&](uint64_t key) { to[atomicAdd(&block.search.taken, 1u)] = key; });
  }
  for (int64_t i = k + threadIdx.x; i < width; i += kThreads) to[i] = 0;
}

struct MergeBlock {
  Search search;
  uint64_t of_warps[kThreads / 32];
  uint64_t keys[kListed];
};

__device__ Candidate candidate_of(uint64_t key) {
  return {static_cast<int32_t>(token_of(key)), __uint_as_float(logit_bits(key))};
}

/// Block: a row: the best of its slices' keys, best first. n: slices * width
__global__ void merge_slices(EarlyStart, Lists to, int64_t width, const uint64_t* found, int64_t n,
                             int64_t cols, const SamplingParams* sampling) {
  ptx::follow_previous();
  auto& block = *shared_memory<MergeBlock>();
  const int thread = static_cast<int>(threadIdx.x);
  const auto k = static_cast<int>(min(candidates_of(sampling[blockIdx.x]), cols));
  const uint64_t* keys = found + blockIdx.x * n;
  Candidate* list = to.row(blockIdx.x);
  if (k == 1) {
    uint64_t best = 0;
    for (int64_t i = thread; i < n; i += kThreads) best = max(best, keys[i]);
    best = largest_of_block<kThreads>(best, block.of_warps);
    if (thread == 0) list[0] = candidate_of(best);
  } else {
    take_largest<kThreads>(
        block.search, n, k, [&](int64_t i) { return keys[i]; },
        [&](uint64_t key) { block.keys[atomicAdd(&block.search.taken, 1u)] = key; });
    __syncthreads();
    if (thread < k) {
      int place = 0;
      for (int i = 0; i < k; ++i) place += block.keys[i] > block.keys[thread] ? 1 : 0;
      list[place] = candidate_of(block.keys[thread]);
    }
  }
  for (int64_t i = k + thread; i < width; i += kThreads) list[i] = {kNoToken, -__uint_as_float(0x7f800000u)};
}

/// How many of a list's first `count` candidates come before one with `key`.
__device__ int count_before(const Candidate* list, int count, uint64_t key) {
  int low = 0, high = count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (key_of(list[middle]) > key)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct SampleBlock {
  Candidate list[kListed];
  double weights[kListed];
};

/// kernels/draw.cpp's, operation for operation; `list` ends at the first that is none.
__device__ int32_t draw_token(const SampleBlock& block, int count, const SamplingParams& draw) {
  int listed = 0;
  double total = 0;
  for (; listed < count && block.list[listed].token != kNoToken; ++listed) total += block.weights[listed];
  double kept = 0;
  int size = 0;
  while (size < listed && (size == 0 || kept < draw.top_p * total)) kept += block.weights[size++];
  double left = uniform_of(draw.seed, draw.position) * kept;
  for (int i = 0; i < size; ++i) {
    left -= block.weights[i];
    if (left < 0) return block.list[i].token;
  }
  return block.list[size - 1].token;
}

/// Block: a row. found [ranks * rows] lists.
__global__ void sample_tokens(EarlyStart, RowsOf<int32_t> tokens, Lists found, int64_t rows, int ranks,
                              const SamplingParams* sampling) {
  ptx::follow_previous();
  auto& block = *shared_memory<SampleBlock>();
  const SamplingParams draw = sampling[blockIdx.x];
  const auto list_of = [&](int rank) { return found.row(rank * rows + blockIdx.x); };
  const int thread = static_cast<int>(threadIdx.x);
  if (!draw.restricted()) {
    if (thread != 0) return;
    uint64_t best = 0;
    for (int rank = 0; rank < ranks; ++rank) best = max(best, key_of(*list_of(rank)));
    *tokens.row(blockIdx.x) = static_cast<int32_t>(token_of(best));
    return;
  }
  const int count = draw.top_k;
  if (thread < count) block.list[thread].token = kNoToken;
  __syncthreads();
  for (int i = thread; i < ranks * count; i += kThreads) {
    const Candidate mine = list_of(i / count)[i % count];
    if (mine.token == kNoToken) continue;
    const uint64_t key = key_of(mine);
    int place = i % count;
    for (int rank = 0; rank < ranks; ++rank)
      if (rank != i / count) place += count_before(list_of(rank), count, key);
    if (place < count) block.list[place] = mine;
  }
  __syncthreads();
  if (thread < count && block.list[thread].token != kNoToken)
    block.weights[thread] =
        exp((static_cast<double>(block.list[thread].logit) - block.list[0].logit) / draw.temperature);
  __syncthreads();
  if (thread == 0) *tokens.row(blockIdx.x) = draw_token(block, count, draw);
}

__global__ void scatter_tokens(EarlyStart, RowsOf<int32_t> token_table, const int32_t* slots,
                               RowsOf<const int32_t> tokens, int64_t rows) {
  ptx::follow_previous();
  for (int64_t r = threadIdx.x; r < rows; r += kThreads) *token_table.row(slots[r]) = *tokens.row(r);
}

void require_tokens(const char* operation, Tensor x) {
  require(x.dtype == DType::i32 && x.cols() == 1, operation, "tokens are int32 [rows, 1]");
}

Lists lists_of(const char* operation, Tensor found) {
  require(found.dtype == DType::i32 && found.cols() >= 2 && found.cols() % 2 == 0 && found.stride % 2 == 0 &&
              reinterpret_cast<uintptr_t>(found.data) % sizeof(Candidate) == 0,
          operation, "candidates are pairs of int32");
  return {static_cast<Candidate*>(found.data), found.stride / 2};
}

}  // namespace

int64_t longest_list(const char* operation, std::span<const SamplingParams> sampling) {
  int64_t longest = 1;
  for (const SamplingParams& draw : sampling) {
    require(draw.temperature >= 0, operation, "a temperature is 0 or above");
    require(Backend::samples_on_device(draw), operation, "a list of this length");
    if (draw.restricted()) longest = std::max<int64_t>(longest, draw.top_k);
  }
  return longest;
}

void top_candidates(Stream stream, TopKScratch& scratch, Tensor found, Tensor logits, int64_t first_token,
                    float cap, const SamplingParams* sampling) {
  require_f32("top_candidates", logits);
  const Lists lists = lists_of("top_candidates", found);
  require(found.rows() == logits.rows() && logits.cols() > 0, "top_candidates", "a list a row of logits");
  const int64_t width = found.cols() / 2, cols = logits.cols(), slices = (cols + kSlice - 1) / kSlice;
  require(width <= kListed, "top_candidates", "a list of this length");
  const int64_t at_once = static_cast<int64_t>(TopKScratch::kCandidates) / (slices * width);
  require(at_once > 0, "top_candidates", "fewer tokens");
  const size_t shared = width == 1 ? offsetof(SelectBlock, keys) : sizeof(SelectBlock);
  for (int64_t r = 0; r < logits.rows(); r += at_once) {
    const int64_t rows = std::min(at_once, logits.rows() - r);
    launch(stream, dim3(static_cast<unsigned>(slices), static_cast<unsigned>(rows)), kThreads, shared,
           best_of_slices, rows_of<const float>(logits.row_range(r, r + rows)), cols, first_token, cap,
           sampling + r, scratch.device(), width);
    launch(stream, dim3(static_cast<unsigned>(rows)), kThreads, sizeof(MergeBlock), merge_slices,
           Lists{lists.data + r * lists.stride, lists.stride}, width, scratch.device(), slices * width, cols,
           sampling + r);
  }
}

void sample(Stream stream, Tensor tokens, Tensor found, const SamplingParams* sampling) {
  require_tokens("sample", tokens);
  const Lists lists = lists_of("sample", found);
  const int64_t rows = tokens.rows();
  if (rows == 0) return;
  require(found.rows() % rows == 0, "sample", "a list a rank and row");
  launch(stream, dim3(static_cast<unsigned>(rows)), kThreads, sizeof(SampleBlock), sample_tokens,
         rows_of<int32_t>(tokens), lists, rows, static_cast<int>(found.rows() / rows), sampling);
}

void scatter(Stream stream, Tensor token_table, const int32_t* slots, Tensor tokens) {
  require_tokens("scatter", token_table);
  require_tokens("scatter", tokens);
  if (tokens.rows() == 0) return;
  launch(stream, dim3(1), kThreads, 0, scatter_tokens, rows_of<int32_t>(token_table), slots,
         rows_of<const int32_t>(tokens), tokens.rows());
}

}  // namespace lapidary::cuda
