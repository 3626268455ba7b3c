#pragma once

#include <cstdint>

namespace lapidary::cpu {
namespace {  // internal linkage: see vec_avx512.h

/// Keeps kSums independent chains of multiply-adds going; for Isa::burn_f32. The chains fit into the
/// registers and are enough to hide the latency of one.
template <class V, int kSums>
int64_t burn_fma(int64_t rounds) {
  V sum[kSums];
  for (int i = 0; i < kSums; ++i) sum[i] = V::set1(static_cast<float>(i));
  // Unknown to the compiler, and such that the sums neither grow nor vanish.
  volatile float half = 0.5f;
  const V a = V::set1(half), b = V::set1(half);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kSums; ++j) sum[j] = fma(a, sum[j], b);
  }
  V all = V::zero();
  for (int i = 0; i < kSums; ++i) all = all + sum[i];
  volatile float sink = reduce_sum(all);
  static_cast<void>(sink);
  return rounds * kSums * V::kLanes * 2;
}

}  // namespace
}  // namespace lapidary::cpu
