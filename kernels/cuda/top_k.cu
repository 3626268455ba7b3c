#include <cuda_platform.h>

#include <algorithm>
#include <functional>

#include "kernels/cuda/require.h"
#include "kernels/cuda/row_access.cuh"
#include "kernels/cuda/sampling.h"

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kLeastSlice = 4096;  // columns: less is not worth a block
constexpr int kBins = 256;

// A candidate is a number of 64 bits, the larger the earlier in the result: its logit so that whole numbers
// order as floats do, then the column from the row's other end, so that the lower of two equals wins. No two
// of a row are equal.

__device__ uint64_t candidate(float logit, int64_t column) {
  const float value = logit == logit ? logit + 0.0f : -__uint_as_float(0x7f800000u);  // -0 counts as 0
  const uint32_t bits = __float_as_uint(value);
  const uint32_t order = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{order} << 32 | (0xffffffffu - static_cast<uint32_t>(column));
}

Candidate decode(uint64_t candidate, int64_t first_token) {
  const auto order = static_cast<uint32_t>(candidate >> 32);
  const uint32_t bits = order >> 31 != 0 ? order & 0x7fffffffu : ~order;
  const int64_t column = 0xffffffffu - static_cast<uint32_t>(candidate);
  return {static_cast<int32_t>(first_token + column), std::bit_cast<float>(bits)};
}

/// How rows are cut: item i is slice i % slices of row i / slices, and has room for `room` candidates.
struct Cut {
  int64_t cols, slice, slices, room;
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
    best = max(best, candidate(row[c], c));
  for (int bits = 16; bits > 0; bits /= 2) best = max(best, __shfl_xor_sync(0xffffffffu, best, bits));
  auto* of_warps = shared_memory<uint64_t>();
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kThreads / 32; ++warp) best = max(best, of_warps[warp]);
  found[blockIdx.x] = best;
}

/// What the threads of a block share while they look for the k-th largest candidate of a slice.
struct Search {
  uint32_t bins[kBins];  // candidates a digit, of those with the prefix
  uint64_t prefix;       // upper digits of the k-th largest
  uint32_t wanted;       // it is the wanted-th largest of those with the prefix
  uint32_t in_prefix;    // how many have it
  uint32_t taken;
};

/// Warp 0 appends to the prefix the digit at which the bins, from above, reach `wanted`.
__device__ void choose_digit(Search& search) {
  const int lane = static_cast<int>(threadIdx.x), highest = kBins - 1 - 8 * lane;  // lane 0 has the top bins
  uint32_t mine = 0;
  for (int i = 0; i < 8; ++i) mine += search.bins[highest - i];
  uint32_t up_to = mine;
  for (int by = 1; by < 32; by *= 2) {
    const uint32_t before = __shfl_sync(0xffffffffu, up_to, max(lane - by, 0));
    if (lane >= by) up_to += before;
  }
  const uint32_t wanted = search.wanted;
  __syncwarp();
  uint32_t above = up_to - mine;
  if (above >= wanted || up_to < wanted) return;
  int digit = highest;
  for (; above + search.bins[digit] < wanted; --digit) above += search.bins[digit];
  search.prefix = search.prefix << 8 | static_cast<uint64_t>(digit);
  search.wanted = wanted - above;
  search.in_prefix = search.bins[digit];
}

/// A block an item: its `room` largest candidates (all, where there are no more) in any order, the rest of
/// the room is zeros. The k-th largest is found digit by digit. found [items, room]
__global__ void select_of_slices(RowsOf<const float> logits, Cut cut, int64_t first_item, uint64_t* found) {
  const int64_t item = first_item + blockIdx.x, begin = slice_begin(cut, item), end = slice_end(cut, item);
  const float* row = logits.row(item / cut.slices);
  auto& search = *shared_memory<Search>();
  if (threadIdx.x == 0) {
    search.prefix = 0;
    search.wanted = static_cast<uint32_t>(min(cut.room, end - begin));
    search.in_prefix = static_cast<uint32_t>(end - begin);
    search.taken = 0;
  }
  __syncthreads();
  int shift = 64;
  while (search.in_prefix != search.wanted) {
    shift -= 8;
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kThreads) search.bins[bin] = 0;
    __syncthreads();
    for (int64_t c = begin + threadIdx.x; c < end; c += kThreads) {
      const uint64_t upper = candidate(row[c], c) >> shift;
      if (upper >> 8 == search.prefix) atomicAdd(&search.bins[upper & 0xff], 1u);
    }
    __syncthreads();
    if (threadIdx.x < 32) choose_digit(search);
    __syncthreads();
  }
  uint64_t* room = found + blockIdx.x * cut.room;
  for (int64_t c = begin + threadIdx.x; c < end; c += kThreads) {
    const uint64_t here = candidate(row[c], c);
    if (shift == 64 || here >> shift >= search.prefix) room[atomicAdd(&search.taken, 1u)] = here;
  }
  for (int64_t i = end - begin + threadIdx.x; i < cut.room; i += kThreads) room[i] = 0;
}

Cut cut_rows(Tensor logits, int64_t k, int multiprocessors) {
  const int64_t cols = logits.cols();
  const int64_t wanted = std::max<int64_t>(1, 2 * multiprocessors / logits.rows());
  const int64_t slice =
      std::clamp((cols + wanted - 1) / wanted, kLeastSlice, static_cast<int64_t>(TopKScratch::kCandidates));
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
  const auto room = static_cast<size_t>(cut.room);
  const int64_t items = logits.rows() * cut.slices;
  const int64_t at_once = static_cast<int64_t>(TopKScratch::kCandidates / room);
  std::vector<std::vector<uint64_t>> best(result.size());
  for (int64_t first = 0; first < items; first += at_once) {
    const int64_t count = std::min(at_once, items - first);
    launch(stream, dim3(static_cast<unsigned>(count)), kThreads,
           k == 1 ? kThreads / 32 * sizeof(uint64_t) : sizeof(Search),
           k == 1 ? largest_of_slices : select_of_slices, rows_of<const float>(logits), cut, first,
           scratch.device());
    copy(stream, scratch.pinned(), scratch.device(), static_cast<size_t>(count) * room * sizeof(uint64_t));
    synchronize(stream);
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t* found = scratch.pinned() + static_cast<size_t>(i) * room;
      auto& of_row = best[static_cast<size_t>((first + i) / cut.slices)];
      of_row.insert(of_row.end(), found, found + room);
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
