#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>

#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda/runtime/early_start.h"
#include "kernels/tensor.h"
#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/stream.h"

// What the kernels ask of the machine, on the host: the twin of kernels/cuda/gpu/cuda_platform.h. A kernel is
// an ordinary function, its threads are fibers (block.h), blocks run one after the other. Names that CUDA C++
// has built in are defined here.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (::lapidary::emulation::thread_index())
#define blockIdx (::lapidary::emulation::Block::current().index())
#define blockDim (::lapidary::emulation::block_size())
#define gridDim (::lapidary::emulation::Block::current().grid())

namespace lapidary::emulation {

inline Index thread_index() { return {static_cast<unsigned>(Block::current().thread()), 0, 0}; }
inline Index block_size() { return {static_cast<unsigned>(Block::current().threads()), 1, 1}; }
inline uint32_t lane() { return static_cast<uint32_t>(Block::current().thread()) % 32; }

}  // namespace lapidary::emulation

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(16) int4 {
  int32_t x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

inline void __syncthreads() { lapidary::emulation::Block::current().barrier(); }
inline void __syncwarp(uint32_t mask = 0xffffffffu) {
  lapidary::emulation::Block::current().exchange("__syncwarp", mask, 0);
}
inline void __threadfence() {}

template <class T>
T __shfl_sync(uint32_t mask, T value, int from) {
  return lapidary::emulation::Block::current().exchange("__shfl_sync", mask, value)[from & 31];
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits) {
  const auto lane = lapidary::emulation::lane();
  return lapidary::emulation::Block::current().exchange("__shfl_xor_sync", mask,
                                                        value)[(lane ^ static_cast<uint32_t>(bits)) & 31];
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned by) {
  const auto lane = lapidary::emulation::lane();
  const T* all = lapidary::emulation::Block::current().exchange("__shfl_down_sync", mask, value);
  return lane + by < 32 ? all[lane + by] : value;
}
inline uint32_t __ballot_sync(uint32_t mask, bool value) {
  const uint32_t mine = value ? 1 : 0;
  const uint32_t* all = lapidary::emulation::Block::current().exchange("__ballot_sync", mask, mine);
  uint32_t bits = 0;
  for (uint32_t i = 0; i < 32; ++i)
    if ((mask >> i & 1) != 0) bits |= all[i] << i;
  return bits;
}
inline bool __any_sync(uint32_t mask, bool value) { return __ballot_sync(mask, value) != 0; }
inline bool __all_sync(uint32_t mask, bool value) { return __ballot_sync(mask, value) == mask; }

// Blocks run one after the other, threads one at a time: a plain operation is atomic.
template <class T>
T atomicAdd(T* at, T value) {
  return std::exchange(*at, static_cast<T>(*at + value));
}
template <class T>
T atomicXor(T* at, T value) {
  return std::exchange(*at, *at ^ value);
}
template <class T>
T atomicMax(T* at, T value) {
  return std::exchange(*at, std::max(*at, value));
}

using std::max;
using std::min;
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t __float_as_uint(float value) { return std::bit_cast<uint32_t>(value); }
inline int __popc(uint32_t bits) { return std::popcount(bits); }

namespace lapidary::cuda {

template <class T>
T* shared_memory() {
  return reinterpret_cast<T*>(emulation::Block::current().shared());
}

template <class... Parameters>
void launch_with(Stream stream, dim3 grid, int threads, size_t shared_bytes, bool early,
                 void (*kernel)(Parameters...), const std::tuple<Parameters...>& given) {
  const emulation::Index size{grid.x, grid.y, grid.z};
  const std::function<void()> body = [=] { std::apply(kernel, given); };
  auto first = std::make_shared<std::unique_ptr<emulation::Block>>();  // if it is begun ahead
  const auto run = [=] {
    for (unsigned z = 0; z < grid.z; ++z)
      for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) {
          const std::unique_ptr<emulation::Block> begun = std::move(*first);
          if (begun != nullptr)
            begun->finish();
          else
            emulation::Block(size, {x, y, z}, threads, shared_bytes, early).run(body);
        }
  };
  if (!early || !stream.early_start) return emulation::submit(stream, run);
  emulation::submit(stream, run, [=] {
    *first = std::make_unique<emulation::Block>(size, emulation::Index{}, threads, shared_bytes, early);
    (*first)->begin(body);
  });
}
template <class... Parameters, class... Arguments>
void launch(Stream stream, dim3 grid, int threads, size_t shared_bytes, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
  const std::tuple<Parameters...> given(std::forward<Arguments>(arguments)...);
  launch_with(stream, grid, threads, shared_bytes, false, kernel, given);
}
template <class... Parameters, class... Arguments>
void launch(Stream stream, dim3 grid, int threads, size_t shared_bytes,
            void (*kernel)(EarlyStart, Parameters...), Arguments&&... arguments) {
  const std::tuple<EarlyStart, Parameters...> given(EarlyStart{}, std::forward<Arguments>(arguments)...);
  launch_with(stream, grid, threads, shared_bytes, true, kernel, given);
}

namespace ptx {

inline void wait_for_previous() { emulation::Block::current().wait_for_previous(); }
inline void let_next_start() {}
inline void follow_previous() { wait_for_previous(); }
inline void prefetch(const void*) {}

struct MmaOperands {
  uint32_t a[4], b[2];
};

inline float bf16_half(uint32_t pair, int half) {
  return from_bf16(static_cast<uint16_t>(pair >> (16 * half)));
}

/// Products are exact in float32; here they are added in the order of k. A device adds them in an order of
/// its own, so equal bits on both are not to be expected.
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const MmaOperands mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const MmaOperands* all = emulation::Block::current().exchange("mma_bf16", 0xffffffffu, mine);
  const uint32_t lane = emulation::lane();
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t row = lane / 4 + 8 * (i / 2), col = lane % 4 * 2 + i % 2;
    for (uint32_t k = 0; k < 16; ++k) {
      const MmaOperands& of_row = all[row % 8 * 4 + k % 8 / 2];
      const MmaOperands& of_col = all[col * 4 + k % 8 / 2];
      d[i] += bf16_half(of_row.a[row / 8 + 2 * (k / 8)], k % 2) * bf16_half(of_col.b[k / 8], k % 2);
    }
  }
}

inline uint32_t read_pair(const void* row, uint32_t first) {
  const auto* values = static_cast<const uint16_t*>(row);
  return values[first] | uint32_t{values[first + 1]} << 16;
}

inline void load_matrices(uint32_t (&to)[4], const void* row) {
  const void* const* rows = emulation::Block::current().exchange("load_matrices", 0xffffffffu, row);
  const uint32_t lane = emulation::lane();
  for (uint32_t i = 0; i < 4; ++i) to[i] = read_pair(rows[8 * i + lane / 4], lane % 4 * 2);
}
inline void load_matrices_transposed(uint32_t (&to)[4], const void* row) {
  const void* const* rows =
      emulation::Block::current().exchange("load_matrices_transposed", 0xffffffffu, row);
  const uint32_t lane = emulation::lane();
  const auto at = [&](uint32_t matrix, uint32_t r, uint32_t c) {
    return uint32_t{static_cast<const uint16_t*>(rows[8 * matrix + r])[c]};
  };
  for (uint32_t i = 0; i < 4; ++i)
    to[i] = at(i, lane % 4 * 2, lane / 4) | at(i, lane % 4 * 2 + 1, lane / 4) << 16;
}

inline void copy_async(void* shared, const void* global, bool valid = true) {
  emulation::Block::current().copy_async(shared, valid ? global : nullptr, 16);
}
inline void commit_copies() { emulation::Block::current().commit_copies(); }
template <int kLeft>
void wait_copies() {
  emulation::Block::current().wait_copies(kLeft);
}

inline float exp2_fast(float x) { return std::exp2(x); }
inline uint4 load_once(const void* global) { return *static_cast<const uint4*>(global); }
inline uint32_t pack_bf16(float low, float high) { return to_bf16(low) | uint32_t{to_bf16(high)} << 16; }
inline uint32_t multiply_bf16(uint32_t a, uint32_t b) {
  return pack_bf16(bf16_half(a, 0) * bf16_half(b, 0), bf16_half(a, 1) * bf16_half(b, 1));
}

// Other devices are other threads of the host.
inline uint32_t load_acquire(const uint32_t* word) {
  return std::atomic_ref(*const_cast<uint32_t*>(word)).load(std::memory_order_acquire);
}
inline void store_far(uint4* global, uint4 words) {
  const auto store = [](uint32_t& to, uint32_t word) {
    std::atomic_ref(to).store(word, std::memory_order_release);
  };
  store(global->w, words.w), store(global->z, words.z), store(global->y, words.y), store(global->x, words.x);
}
inline uint4 load_fresh(const uint4* global) {
  auto& from = const_cast<uint4&>(*global);
  const uint4 words{load_acquire(&from.x), load_acquire(&from.y), load_acquire(&from.z),
                    load_acquire(&from.w)};
  if (words.x == 0 || words.y == 0 || words.z == 0 || words.w == 0) emulation::Block::current().pause();
  return words;
}

}  // namespace ptx
}  // namespace lapidary::cuda

#define LAPIDARY_UNROLL
