#pragma once

#include <cstdint>

#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/math.h"

namespace lapidary::cpu {

/// Operations on one row of n floats, or a part of one where each element stands for itself. y may be x.
struct RowKernels {
  void (*rms_norm)(float* y, const float* x, const float* gain, float eps, int64_t n);
  void (*layer_norm)(float* y, const float* x, const float* gain, const float* bias, float eps, int64_t n);
  void (*add)(float* x, const float* y, int64_t n);
  void (*scale)(float* x, float factor, int64_t n);  // never leaves a -0
  void (*gelu)(float* x, int64_t n);
  void (*gelu_mul)(float* y, const float* gate, const float* up, int64_t n);
  void (*softcap)(float* x, float cap, int64_t n);
  void (*rope)(float* x, const float* cos_sin, int64_t half);  // one head of 2 * half
  /// The largest of n >= 1, where a NaN counts as -inf.
  float (*largest)(const float* x, int64_t n);
  /// x[i] = x[i] / temperature + Gumbel noise of number first + i of the stream.
  void (*gumbel)(float* x, float temperature, uint64_t stream, int64_t first, int64_t n);
  void (*exp)(float* x, int64_t n);
  void (*exp2)(float* x, int64_t n);
  void (*tanh)(float* x, int64_t n);
  void (*log)(float* x, int64_t n);
};

// Everything here is a template over V, which has internal linkage: a function without V, compiled for one
// machine's instructions, could be picked by the linker for the whole program.

template <class V>
struct Rows {
  template <class F>
  static void map(float* y, const float* x, int64_t n, F f) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) f(V::load(x + i)).store(y + i);
    const int rest = static_cast<int>(n - i);
    if (rest > 0) f(V::load_n(x + i, rest)).store_n(y + i, rest);
  }

  template <class F>
  static void map(float* y, const float* a, const float* b, int64_t n, F f) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) f(V::load(a + i), V::load(b + i)).store(y + i);
    const int rest = static_cast<int>(n - i);
    if (rest > 0) f(V::load_n(a + i, rest), V::load_n(b + i, rest)).store_n(y + i, rest);
  }

  /// Sum of f(x[i]) in an order that n alone decides: 64 partial sums, then a tree.
  template <class F>
  static float sum(const float* x, int64_t n, F f) {
    V s[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
      for (int j = 0; j < 4; ++j) s[j] = s[j] + f(V::load(x + i + 16 * j));
    }
    for (; i + 16 <= n; i += 16) s[0] = s[0] + f(V::load(x + i));
    const int rest = static_cast<int>(n - i);
    if (rest > 0) {  // f of an absent element need not be 0
      float lanes[16];
      f(V::load_n(x + i, rest)).store(lanes);
      s[1] = s[1] + V::load_n(lanes, rest);
    }
    return reduce_sum((s[0] + s[1]) + (s[2] + s[3]));
  }

  static V inverse_root(float x) { return V::set1(1) / sqrt(V::set1(x)); }

  static void rms_norm(float* y, const float* x, const float* gain, float eps, int64_t n) {
    const float squares = sum(x, n, [](V v) { return v * v; });
    const V inverse = inverse_root(squares / static_cast<float>(n) + eps);
    map(y, x, gain, n, [&](V v, V g) { return v * inverse * (V::set1(1) + g); });
  }

  static void layer_norm(float* y, const float* x, const float* gain, const float* bias, float eps,
                         int64_t n) {
    const V mean = V::set1(sum(x, n, [](V v) { return v; }) / static_cast<float>(n));
    const float squares = sum(x, n, [&](V v) { return (v - mean) * (v - mean); });
    const V inverse = inverse_root(squares / static_cast<float>(n) + eps);
    map(y, x, gain, n, [&](V v, V g) { return (v - mean) * inverse * g; });
    add(y, bias, n);
  }

  static void add(float* x, const float* y, int64_t n) {
    map(x, x, y, n, [](V a, V b) { return a + b; });
  }

  static void scale(float* x, float factor, int64_t n) {
    const V f = V::set1(factor);
    map(x, x, n, [&](V v) { return V::zero() + v * f; });
  }

  static void gelu(float* x, int64_t n) {
    map(x, x, n, [](V v) { return gelu_tanh(v); });
  }

  static void gelu_mul(float* y, const float* gate, const float* up, int64_t n) {
    map(y, gate, up, n, [](V g, V u) { return gelu_tanh(g) * u; });
  }

  static void softcap(float* x, float cap, int64_t n) {
    const V c = V::set1(cap);
    map(x, x, n, [&](V v) { return c * cpu::tanh(v / c); });
  }

  static void rope(float* x, const float* cos_sin, int64_t half) {
    for (int64_t j = 0; j < half; j += 16) {
      const int n = half - j < 16 ? static_cast<int>(half - j) : 16;
      const V a = V::load_n(x + j, n);
      const V b = V::load_n(x + half + j, n);
      const V c = V::load_n(cos_sin + j, n);
      const V s = V::load_n(cos_sin + half + j, n);
      (a * c - b * s).store_n(x + j, n);
      (b * c + a * s).store_n(x + half + j, n);
    }
  }

  static float largest(const float* x, int64_t n) {
    const float lowest = -__builtin_inff();
    if (n < 16) {
      float largest = lowest;
      for (int64_t i = 0; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
      return largest;
    }
    V m[4];
    for (V& v : m) v = V::set1(lowest);
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
      for (int j = 0; j < 4; ++j) m[j] = max(V::load(x + i + 16 * j), m[j]);  // m where x is a NaN
    }
    for (; i + 16 <= n; i += 16) m[0] = max(V::load(x + i), m[0]);
    m[1] = max(V::load(x + n - 16), m[1]);
    return reduce_max(max(max(m[0], m[1]), max(m[2], m[3])));
  }

  /// -log(-log(u)) with u = (bits + 1/2) / 2^32. From the upper half on 1 - u is what float32 holds well,
  /// hence log(u) = log1p(-(1 - u)): the noise reaches 22.8 in fine steps, where u itself would end at 17.
  static V noise(const uint32_t* bits) {
    float distance[16];
    float upper[16];
    for (int i = 0; i < 16; ++i) {
      const bool above = bits[i] >> 31 != 0;
      const auto whole = static_cast<int32_t>(above ? ~bits[i] : bits[i]);
      distance[i] = static_cast<float>(whole);
      upper[i] = above ? 1.0f : 0.0f;
    }
    const V d = (V::load(distance) + V::set1(0.5f)) * V::set1(0x1p-32f);
    const V half = V::set1(0.5f);
    const V flag = V::load(upper);
    const V u = select_greater(flag, half, V::set1(1) - d, d);
    const V lost = select_greater(flag, half, (V::set1(1) - u) - d, V::zero());
    const V e = V::zero() - (cpu::log(u) + lost / u);
    return V::zero() - cpu::log(e);
  }

  static void gumbel(float* x, float temperature, uint64_t stream, int64_t first, int64_t n) {
    const V t = V::set1(temperature);
    for (int64_t i = 0; i < n; i += 16) {
      uint32_t bits[16];
      for (int j = 0; j < 16; ++j) {  // SplitMix64 (Steele, Lea, Flood 2014)
        uint64_t z = stream + static_cast<uint64_t>(first + i + j + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        bits[j] = static_cast<uint32_t>((z ^ (z >> 31)) >> 32);
      }
      const int lanes = n - i < 16 ? static_cast<int>(n - i) : 16;
      (V::load_n(x + i, lanes) / t + noise(bits)).store_n(x + i, lanes);
    }
  }

  static void exp(float* x, int64_t n) {
    map(x, x, n, [](V v) { return cpu::exp(v); });
  }
  static void exp2(float* x, int64_t n) {
    map(x, x, n, [](V v) { return cpu::exp2(v); });
  }
  static void tanh(float* x, int64_t n) {
    map(x, x, n, [](V v) { return cpu::tanh(v); });
  }
  static void log(float* x, int64_t n) {
    map(x, x, n, [](V v) { return cpu::log(v); });
  }
};

template <class V>
const RowKernels& row_kernels() {
  using R = Rows<V>;
  static constexpr RowKernels kKernels{R::rms_norm, R::layer_norm, R::add,  R::scale,   R::gelu,
                                       R::gelu_mul, R::softcap,    R::rope, R::largest, R::gumbel,
                                       R::exp,      R::exp2,       R::tanh, R::log};
  return kKernels;
}

}  // namespace lapidary::cpu
