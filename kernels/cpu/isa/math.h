#pragma once

#include <cstdint>
#include <cstring>

namespace lapidary::cpu {

// Elementary functions of sixteen floats. V is a vector type of vec_*.h; as those have internal linkage, so
// have these. The polynomials are minimax fits of the relative error; errors are given in units in the last
// place (tests/kernels/cpu/math_test.cpp holds them to it).

/// r in [-ln2 / 2, ln2 / 2] and whole n with x = n ln2 + r. The upper part of ln2 has 10 bits, so that n
/// times it is exact, with or without a fused multiply-add.
template <class V>
inline V reduce_ln2(V x, V& n) {
  n = round(x * V::set1(1.44269504f));
  return fma(n, V::set1(2.12194440e-4f), fma(n, V::set1(-0.693359375f), x));
}

/// e^r - 1 for r in [-ln2 / 2, ln2 / 2].
template <class V>
inline V expm1_reduced(V r) {
  V q = V::set1(1.38825148e-3f);
  q = fma(q, r, V::set1(8.36655731e-3f));
  q = fma(q, r, V::set1(4.16672010e-2f));
  q = fma(q, r, V::set1(1.66665433e-1f));
  q = fma(q, r, V::set1(4.99999981e-1f));
  return fma(r * r, q, r);
}

/// e^x, 2 ulp; 0 below -87.6 and inf above 88.3, the last half power of two of the range. A NaN stays one.
template <class V>
inline V exp(V x) {
  x = min(V::set1(88.6f), max(V::set1(-88.0f), x));
  V n;
  const V r = reduce_ln2(x, n);
  return (expm1_reduced(r) + V::set1(1)) * exp2_int(n);
}

/// 2^f for f in [-1/2, 1/2].
template <class V>
inline V exp2_reduced(V f) {
  V p = V::set1(1.32647271e-3f);
  p = fma(p, f, V::set1(9.67151264e-3f));
  p = fma(p, f, V::set1(5.55073374e-2f));
  p = fma(p, f, V::set1(2.40222421e-1f));
  p = fma(p, f, V::set1(6.93146978e-1f));
  return fma(p, f, V::set1(1));
}

/// 2^x for x <= 1, 3 ulp; 0 below -126.5. 2^0 is 1 exactly. A NaN stays one.
template <class V>
inline V exp2(V x) {
  if constexpr (requires { V::scale_exp2(x, x); }) {
    const V n = round(x);
    return V::scale_exp2(exp2_reduced(x - n), n);
  } else {
    x = max(V::set1(-127.0f), x);
    const V n = round(x);
    return exp2_reduced(x - n) * exp2_int(n);
  }
}

/// tanh x, 4 ulp, also near 0: -e / (e + 2) with e = exp(-2 |x|) - 1, which never cancels.
template <class V>
inline V tanh(V x) {
  // Beyond 9.02 the nearest float is 1.
  const V a = min(V::set1(9.1f), abs(x));
  V n;
  const V r = reduce_ln2(V::set1(-2) * a, n);
  const V power = exp2_int(n);
  const V e = fma(power, expm1_reduced(r), power - V::set1(1));
  const V y = (V::zero() - e) / (e + V::set1(2));
  return select_greater(V::zero(), x, V::zero() - y, y);
}

/// ln x for positive, normal x, 2 ulp: x = m 2^k with m in [sqrt(1/2), sqrt(2)).
template <class V>
inline V log(V x) {
  float lanes[16];
  float exponents[16];
  int32_t bits[16];
  x.store(lanes);
  std::memcpy(bits, lanes, sizeof bits);
  for (int i = 0; i < 16; ++i) {
    const int32_t k = (bits[i] - 0x3f3504f3) >> 23;
    exponents[i] = static_cast<float>(k);
    bits[i] -= k * (1 << 23);
  }
  std::memcpy(lanes, bits, sizeof bits);
  const V k = V::load(exponents);
  const V t = V::load(lanes) - V::set1(1);
  V p = V::set1(-7.63449398e-2f);
  p = fma(p, t, V::set1(1.27615745e-1f));
  p = fma(p, t, V::set1(-1.31601822e-1f));
  p = fma(p, t, V::set1(1.42017584e-1f));
  p = fma(p, t, V::set1(-1.66233574e-1f));
  p = fma(p, t, V::set1(2.00012269e-1f));
  p = fma(p, t, V::set1(-2.50008210e-1f));
  p = fma(p, t, V::set1(3.33333317e-1f));
  // t - t²/2 + t³ p + k ln2, the small terms first.
  const V tt = t * t;
  V y = fma(tt * t, p, k * V::set1(-2.12194440e-4f));
  y = fma(V::set1(-0.5f), tt, y);
  return fma(k, V::set1(0.693359375f), t + y);
}

/// x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x³), in the form x / (1 + exp(-2u)), which doesn't
/// cancel for negative x.
template <class V>
inline V gelu_tanh(V x) {
  const V u = x * fma(x * x, V::set1(-2 * 0.7978845608f * 0.044715f), V::set1(-2 * 0.7978845608f));
  return x / (V::set1(1) + exp(u));
}

}  // namespace lapidary::cpu
