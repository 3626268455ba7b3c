#pragma once

#include <cuda_platform.h>

#include <cstdint>

// Matrix products of a warpgroup: four warps, of which the first is a multiple of four, multiply 64 rows at
// once. Only sm_90a has these instructions, so only files that are compiled for it alone include this.
//
// A product runs behind the threads' back. Its sums and its left operand in registers are the threads' again
// when the group it was committed to was waited for, and settle() was called on the sums: it is what keeps
// the compiler from reading them earlier. fence_products() comes before the first product after registers of
// it were written. Right operands lie in shared memory, where a descriptor says how (warpgroup_tiles.cuh).

namespace lapidary::cuda::ptx {

/// Where a descriptor says that something in shared memory is.
__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

/// What this thread wrote to shared memory, or waited for, is seen by products, after a barrier.
__device__ __forceinline__ void fence_shared_writes() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void fence_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Closes a group of products.
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `kLeft` groups are under way.
template <int kLeft>
__device__ __forceinline__ void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}
/// Sums whose products were waited for are the threads' again.
template <int kTiles>
__device__ __forceinline__ void settle(float (&d)[kTiles][4]) {
  LAPIDARY_UNROLL
  for (int i = 0; i < kTiles; ++i)
    asm volatile("" : "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])::"memory");
}

#define LAPIDARY_TILE(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])

/// d [64, 64] (+)= a [64, 16] · b [16, 64], bf16 in, float32 sums, those of a warp in the fragments of
/// mma_bf16 for rows 16 * (warp % 4)…; without `add` d only receives. b is K-major: 64 rows of 16 in shared
/// memory.
__device__ __forceinline__ void multiply(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b, bool add) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %37, 0; "
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, 0; }"
      : LAPIDARY_TILE(0), LAPIDARY_TILE(1), LAPIDARY_TILE(2), LAPIDARY_TILE(3), LAPIDARY_TILE(4),
        LAPIDARY_TILE(5), LAPIDARY_TILE(6), LAPIDARY_TILE(7)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add ? 1 : 0));
}

/// The same with a K-major in shared memory, too.
__device__ __forceinline__ void multiply(float (&d)[8][4], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %34, 0; "
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, p, 1, 1, 0, 0; }"
      : LAPIDARY_TILE(0), LAPIDARY_TILE(1), LAPIDARY_TILE(2), LAPIDARY_TILE(3), LAPIDARY_TILE(4),
        LAPIDARY_TILE(5), LAPIDARY_TILE(6), LAPIDARY_TILE(7)
      : "l"(a), "l"(b), "r"(add ? 1 : 0));
}

/// d [64, 72], [64, 128] or [64, 256] += a [64, 16] · b, where b lies as 16 rows in shared memory (MN-major).
__device__ __forceinline__ void multiply_rows(float (&d)[9][4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, 1, 0; "
      "wgmma.mma_async.sync.aligned.m64n72k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35"
      "}, {%36, %37, %38, %39}, %40, p, 1, 1, 1; }"
      : LAPIDARY_TILE(0), LAPIDARY_TILE(1), LAPIDARY_TILE(2), LAPIDARY_TILE(3), LAPIDARY_TILE(4),
        LAPIDARY_TILE(5), LAPIDARY_TILE(6), LAPIDARY_TILE(7), LAPIDARY_TILE(8)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

__device__ __forceinline__ void multiply_rows(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, 1, 0; "
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1; }"
      : LAPIDARY_TILE(0), LAPIDARY_TILE(1), LAPIDARY_TILE(2), LAPIDARY_TILE(3), LAPIDARY_TILE(4),
        LAPIDARY_TILE(5), LAPIDARY_TILE(6), LAPIDARY_TILE(7), LAPIDARY_TILE(8), LAPIDARY_TILE(9),
        LAPIDARY_TILE(10), LAPIDARY_TILE(11), LAPIDARY_TILE(12), LAPIDARY_TILE(13), LAPIDARY_TILE(14),
        LAPIDARY_TILE(15)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

__device__ __forceinline__ void multiply_rows(float (&d)[32][4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, 1, 0; "
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
      "}, {%128, %129, %130, %131}, %132, p, 1, 1, 1; }"
      : LAPIDARY_TILE(0), LAPIDARY_TILE(1), LAPIDARY_TILE(2), LAPIDARY_TILE(3), LAPIDARY_TILE(4),
        LAPIDARY_TILE(5), LAPIDARY_TILE(6), LAPIDARY_TILE(7), LAPIDARY_TILE(8), LAPIDARY_TILE(9),
        LAPIDARY_TILE(10), LAPIDARY_TILE(11), LAPIDARY_TILE(12), LAPIDARY_TILE(13), LAPIDARY_TILE(14),
        LAPIDARY_TILE(15), LAPIDARY_TILE(16), LAPIDARY_TILE(17), LAPIDARY_TILE(18), LAPIDARY_TILE(19),
        LAPIDARY_TILE(20), LAPIDARY_TILE(21), LAPIDARY_TILE(22), LAPIDARY_TILE(23), LAPIDARY_TILE(24),
        LAPIDARY_TILE(25), LAPIDARY_TILE(26), LAPIDARY_TILE(27), LAPIDARY_TILE(28), LAPIDARY_TILE(29),
        LAPIDARY_TILE(30), LAPIDARY_TILE(31)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

#undef LAPIDARY_TILE

}  // namespace lapidary::cuda::ptx
