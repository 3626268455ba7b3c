#include "kernels/cuda/probe/probe.h"

#include <cuda_platform.h>

namespace lapidary::cuda {
namespace {

constexpr int kThreads = 256, kBlocksEach = 8;  // on a multiprocessor
constexpr int kAtOnce = 4;                      // loads of a thread that are under way together

/// A hash whose every bit depends on all of `x` (the finaliser of MurmurHash3).
__host__ __device__ inline uint32_t mixed(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}

__global__ void fill(uint32_t* to, int64_t words) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < words; i += step)
    to[i] = mixed(static_cast<uint32_t>(i));
}

__device__ inline uint32_t folded(uint4 v) { return v.x ^ v.y ^ v.z ^ v.w; }

__global__ void __launch_bounds__(kThreads) read_words(uint32_t* sum, const uint4* from, int64_t vectors) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  uint32_t mine = 0;
  for (; i + (kAtOnce - 1) * step < vectors; i += kAtOnce * step) {
    uint4 v[kAtOnce];
    LAPIDARY_UNROLL
    for (int j = 0; j < kAtOnce; ++j) v[j] = ptx::load_once(from + i + j * step);
    LAPIDARY_UNROLL
    for (int j = 0; j < kAtOnce; ++j) mine ^= folded(v[j]);
  }
  for (; i < vectors; i += step) mine ^= folded(ptx::load_once(from + i));
  for (int lane = 16; lane > 0; lane /= 2) mine ^= __shfl_xor_sync(0xffffffffu, mine, lane);
  if (threadIdx.x % 32 == 0) atomicXor(sum, mine);
}

__global__ void __launch_bounds__(kThreads) copy_words(uint4* to, const uint4* from, int64_t vectors) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; i + (kAtOnce - 1) * step < vectors; i += kAtOnce * step) {
    uint4 v[kAtOnce];
    LAPIDARY_UNROLL
    for (int j = 0; j < kAtOnce; ++j) v[j] = ptx::load_once(from + i + j * step);
    LAPIDARY_UNROLL
    for (int j = 0; j < kAtOnce; ++j) to[i + j * step] = v[j];
  }
  for (; i < vectors; i += step) to[i] = ptx::load_once(from + i);
}

__global__ void add_one(EarlyStart, uint32_t* words) {
  ptx::follow_previous();
  ++words[blockIdx.x * blockDim.x + threadIdx.x];
}

dim3 grid_of(int multiprocessors) { return {static_cast<unsigned>(multiprocessors * kBlocksEach)}; }

}  // namespace

uint32_t probe_word(uint32_t place) { return mixed(place); }

void fill_with_hashes(Stream stream, uint32_t* to, int64_t words) {
  const auto blocks = static_cast<unsigned>((words + 64 * kThreads - 1) / (64 * kThreads));
  launch(stream, dim3(blocks > 0 ? blocks : 1), kThreads, 0, fill, to, words);
}

void read_all(Stream stream, uint32_t* sum, const uint32_t* from, int64_t words, int multiprocessors) {
  launch(stream, grid_of(multiprocessors), kThreads, 0, read_words, sum, reinterpret_cast<const uint4*>(from),
         words / 4);
}

void copy_all(Stream stream, uint32_t* to, const uint32_t* from, int64_t words, int multiprocessors) {
  launch(stream, grid_of(multiprocessors), kThreads, 0, copy_words, reinterpret_cast<uint4*>(to),
         reinterpret_cast<const uint4*>(from), words / 4);
}

void count(Stream stream, uint32_t* words, int multiprocessors) {
  launch(stream, dim3(static_cast<unsigned>(multiprocessors)), kCountedEach, 0, add_one, words);
}

}  // namespace lapidary::cuda
