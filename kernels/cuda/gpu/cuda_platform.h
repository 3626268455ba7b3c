#pragma once

#include <cuda_runtime.h>

#include <nv/target>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda/runtime/early_start.h"

// What the kernels ask of the machine, on a real device. Kernel sources are plain CUDA C++ without <<< >>>
// and without PTX of their own: they start through launch() and name each instruction by a function of `ptx`.
// tests/cuda_emulation has the other file of this name, which runs the same sources on the host.

namespace lapidary::cuda {

/// Throws std::runtime_error with the driver's own words. `what`: what was tried, as "cannot …" goes on.
void check(cudaError_t status, const char* what);

/// The block's dynamic shared memory; kernels have no other.
template <class T>
__device__ __forceinline__ T* shared_memory() {
  extern __shared__ __align__(1024) unsigned char lapidary_shared[];
  return reinterpret_cast<T*>(lapidary_shared);
}

template <class... Parameters>
void launch_with(Stream stream, dim3 grid, int threads, size_t shared_bytes, bool early,
                 void (*kernel)(Parameters...), Parameters... arguments) {
  if (shared_bytes > 48 * 1024)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          "give a kernel its shared memory");
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream.handle);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = early && stream.early_start ? 1 : 0;  // devices below sm_90 do as without
  check(cudaLaunchKernelEx(&config, kernel, arguments...), "start a kernel");
}

/// The one way in which kernels start: grid.x * y * z blocks of `threads`. An EarlyStart is not among the
/// arguments.
template <class... Parameters, class... Arguments>
void launch(Stream stream, dim3 grid, int threads, size_t shared_bytes, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
  launch_with<Parameters...>(stream, grid, threads, shared_bytes, false, kernel,
                             Parameters(std::forward<Arguments>(arguments))...);
}
template <class... Parameters, class... Arguments>
void launch(Stream stream, dim3 grid, int threads, size_t shared_bytes,
            void (*kernel)(EarlyStart, Parameters...), Arguments&&... arguments) {
  launch_with<EarlyStart, Parameters...>(stream, grid, threads, shared_bytes, true, kernel, EarlyStart{},
                                         Parameters(std::forward<Arguments>(arguments))...);
}

namespace ptx {

// early_start.h says when these are called. Devices below sm_90 start kernels one after the other.
__device__ __forceinline__ void wait_for_previous() {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("griddepcontrol.wait;" ::: "memory");))
}
__device__ __forceinline__ void let_next_start() {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("griddepcontrol.launch_dependents;" ::: "memory");))
}
/// Both, for a kernel that has nothing to do ahead.
__device__ __forceinline__ void follow_previous() {
  let_next_start();
  wait_for_previous();
}

/// Asks for the 128 bytes around an address to be brought to the second cache.
__device__ __forceinline__ void prefetch(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

/// d [16, 8] += a [16, 16] · b [16, 8], bf16 in, float32 sums; a row major, b column major, in the fragments
/// of mma.m16n8k16 (lane l holds rows l/4 and l/4 + 8 of a and d, column l/4 of b).
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8x8 matrices of 16-bit numbers from shared memory: lane l gives the address of row l % 8 of matrix
/// l / 8, and gets two neighbours of row l / 4 of each.
__device__ __forceinline__ void load_matrices(uint32_t (&to)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}
/// The same, each matrix transposed on its way.
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&to)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

/// 16 bytes from global to shared memory, behind the thread's back; zeros where `valid` is false.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid = true) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes)
               : "memory");
}
/// Closes a group of this thread's copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `kLeft` of this thread's groups are under way. Other threads see them after a barrier.
template <int kLeft>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

/// 2^x, to about 2 units in the last place.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// 16 bytes that are read once: past the first cache.
__device__ __forceinline__ uint4 load_once(const void* global) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(global));
  return value;
}

/// Two floats rounded to bf16 (to nearest, ties to even), `low` in the lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

/// The products of two pairs of bf16.
__device__ __forceinline__ uint32_t multiply_bf16(uint32_t a, uint32_t b) {
  uint32_t pair;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(pair) : "r"(a), "r"(b), "r"(0x80008000u));  // + -0
  return pair;
}

/// A word of the host.
__device__ __forceinline__ uint32_t load_acquire(const uint32_t* flag) {
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
  return value;
}
/// Four words for a thread of another device, and how that one reads them: never from its SM's cache. Each
/// word arrives whole, in no order with others.
__device__ __forceinline__ void store_far(uint4* global, uint4 words) {
  asm volatile("st.relaxed.sys.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(global), "r"(words.x), "r"(words.y),
               "r"(words.z), "r"(words.w)
               : "memory");
}
__device__ __forceinline__ uint4 load_fresh(const uint4* global) {
  uint4 words;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
               : "l"(global)
               : "memory");
  return words;
}

}  // namespace ptx
}  // namespace lapidary::cuda

/// Before a loop whose indices must be numbers at compile time: arrays that are to lie in registers need it.
#define LAPIDARY_UNROLL _Pragma("unroll")
