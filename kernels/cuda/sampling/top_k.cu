#include <cuda_platform.h>

#include <algorithm>
#include <functional>

#include "kernels/cuda/rows/row_access.cuh"
#include "kernels/cuda/runtime/require.h"
#include "kernels/cuda/sampling/candidates.cuh"
#include "kernels/cuda/sampling/sampling.h"

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMinSlice = 4096;  // columns: less is not worth a block

Candidate decode(uint64_t key, int64_t first_token) {
  return {static_cast<int32_t>(first_token + token_of(key)), std::bit_cast<float>(logit_bits(key))};
}

/// How rows are cut: item i is slice i % slices of row i / slices, and has room for `width` candidates.
struct Cut {
  int64_t cols, slice, slices, width;
};

__device__ int64_t slice_begin(const Cut& cut, int64_t item) { return item % cut.slices * cut.slice; }
__device__ int64_t slice_end(const Cut& cut, int64_t item) {
  return min(slice_begin(cut, item) + cut.slice, cut.cols);
}

/// A block an item: the largest candidate. found [items]
__global__ void largest_of_slices(RowsOf<const float> logits, Cut cut, int64_t first_item, uint64_t* found) {
  const int64_t item = first_item + blockIdx.x, end = slice_end(cut, item);
  const float* row = logits.row(item / cut.slices);
  uint64_t best = 0;  // below every candidate
  for (int64_t c = slice_begin(cut, item) + threadIdx.x; c < end; c += kThreads)
    best = max(best, key_of(row[c], c));
  best = largest_of_block<kThreads>(best, shared_memory<uint64_t>());
  if (threadIdx.x == 0) found[blockIdx.x] = best;
}

/// A block an item: its `width` largest candidates (all, where there are no more) in any order, the rest of
/// them is zeros. found [items, width]
__global__ void select_of_slices(RowsOf<const float> logits, Cut cut, int64_t first_item, uint64_t* found) {
  const int64_t item = first_item + blockIdx.x, begin = slice_begin(cut, item);
  const int64_t size = slice_end(cut, item) - begin;
  const float* row = logits.row(item / cut.slices) + begin;
  auto& search = *shared_memory<Search>();
  uint64_t* to = found + blockIdx.x * cut.width;
  take_largest<kThreads>(
      search, size, min(cut.width, size), [&](int64_t i) { return key_of(row[i], begin + i); },
      [&](uint64_t key) { to[atomicAdd(&search.taken, 1u)] = key; });
  for (int64_t i = size + threadIdx.x; i < cut.width; i += kThreads) to[i] = 0;
}

Cut cut_rows(Tensor logits, int64_t k, int multiprocessors) {
  const int64_t cols = logits.cols();
  const int64_t wanted = std::max<int64_t>(1, 2 * multiprocessors / logits.rows());
  const int64_t slice =
      std::clamp((cols + wanted - 1) / wanted, kMinSlice, static_cast<int64_t>(TopKScratch::kCandidates));
  return {cols, slice, (cols + slice - 1) / slice, std::min(k, std::min(slice, cols))};
}

}  // namespace

TopKScratch::TopKScratch()
    : device_(allocate(kCandidates * sizeof(uint64_t))),
      pinned_(allocate_pinned(kCandidates * sizeof(uint64_t))) {}

std::vector<std::vector<Candidate>> top_k(Stream stream, TopKScratch& scratch, Tensor logits,
                                          int64_t first_token, int k, int multiprocessors) {
  require_f32("top_k", logits);
  require(k >= 0, "top_k", "k is 0 or more");
  std::vector<std::vector<Candidate>> result(static_cast<size_t>(logits.rows()));
  if (k == 0 || logits.rows() == 0 || logits.cols() == 0) return result;
  const Cut cut = cut_rows(logits, k, multiprocessors);
  const auto width = static_cast<size_t>(cut.width);
  const int64_t items = logits.rows() * cut.slices;
  const int64_t at_once = static_cast<int64_t>(TopKScratch::kCandidates / width);
  std::vector<std::vector<uint64_t>> best(result.size());
  for (int64_t first = 0; first < items; first += at_once) {
    const int64_t count = std::min(at_once, items - first);
    launch(stream, dim3(static_cast<unsigned>(count)), kThreads,
           k == 1 ? kThreads / 32 * sizeof(uint64_t) : sizeof(Search),
           k == 1 ? largest_of_slices : select_of_slices, rows_of<const float>(logits), cut, first,
           scratch.device());
    copy(stream, scratch.pinned(), scratch.device(), static_cast<size_t>(count) * width * sizeof(uint64_t));
    synchronize(stream);
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t* found = scratch.pinned() + static_cast<size_t>(i) * width;
      auto& of_row = best[static_cast<size_t>((first + i) / cut.slices)];
      of_row.insert(of_row.end(), found, found + width);
    }
  }
  for (size_t r = 0; r < result.size(); ++r) {
    const auto size = static_cast<size_t>(std::min<int64_t>(k, cut.cols));
    std::partial_sort(best[r].begin(), best[r].begin() + static_cast<int64_t>(size), best[r].end(),
                      std::greater<>());
    for (size_t i = 0; i < size; ++i) result[r].push_back(decode(best[r][i], first_token));
  }
  return result;
}

}  // namespace lapidary::cuda
