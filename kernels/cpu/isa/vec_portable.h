#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/tensor.h"

namespace lapidary::cpu {
namespace {  // internal linkage: see vec_avx512.h

/// Sixteen floats. Every vec_*.h offers this interface, and kernels are templates over it. All operations
/// round as IEEE says and give the same bits in every one of them, but for fma: here two roundings, elsewhere
/// one.
struct VecPortable {
  static constexpr int kLanes = 16;
  // The compiler's generic vectors: each maps to whatever the machine at hand has.
  typedef float Quad __attribute__((vector_size(16)));
  typedef int32_t IntQuad __attribute__((vector_size(16)));
  Quad q[4];

  template <class Op>
  static VecPortable make(Op op) {
    return {{op(0), op(1), op(2), op(3)}};
  }
  static Quad spread(float x) { return Quad{x, x, x, x}; }
  static VecPortable zero() { return set1(0); }
  static VecPortable set1(float x) {
    return make([&](int) { return spread(x); });
  }

  static VecPortable load(const float* p) {
    VecPortable r;
    std::memcpy(r.q, p, sizeof r.q);
    return r;
  }
  /// Lanes from n on (0 … 16) are zero, and their memory is not touched.
  static VecPortable load_n(const float* p, int n) {
    float lanes[16] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return load(lanes);
  }
  void store(float* p) const { std::memcpy(p, q, sizeof q); }
  void store_n(float* p, int n) const {
    float lanes[16];
    store(lanes);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }

  static VecPortable load_bf16(const uint16_t* p) { return load_bf16_n(p, 16); }
  static VecPortable load_bf16_n(const uint16_t* p, int n) {
    float lanes[16] = {};
    for (int i = 0; i < n; ++i) lanes[i] = from_bf16(p[i]);
    return load(lanes);
  }
  /// Rounds as to_bf16 does.
  void store_bf16(uint16_t* p) const { store_bf16_n(p, 16); }
  void store_bf16_n(uint16_t* p, int n) const {
    float lanes[16];
    store(lanes);
    for (int i = 0; i < n; ++i) p[i] = to_bf16(lanes[i]);
  }
  static IntQuad pairs(const uint16_t* p, int i) {
    IntQuad bits;
    std::memcpy(&bits, p + 8 * i, sizeof bits);
    return bits;
  }
  /// Of sixteen pairs of a bf16 panel: the first, or the second of each.
  static VecPortable load_even(const uint16_t* p) {
    return make([&](int i) { return reinterpret_cast<Quad>(pairs(p, i) << 16); });
  }
  static VecPortable load_odd(const uint16_t* p) {
    return make(
        [&](int i) { return reinterpret_cast<Quad>(pairs(p, i) & static_cast<int32_t>(0xffff0000u)); });
  }

  friend VecPortable operator+(const VecPortable& a, const VecPortable& b) {
    return make([&](int i) { return a.q[i] + b.q[i]; });
  }
  friend VecPortable operator-(const VecPortable& a, const VecPortable& b) {
    return make([&](int i) { return a.q[i] - b.q[i]; });
  }
  friend VecPortable operator*(const VecPortable& a, const VecPortable& b) {
    return make([&](int i) { return a.q[i] * b.q[i]; });
  }
  friend VecPortable operator/(const VecPortable& a, const VecPortable& b) {
    return make([&](int i) { return a.q[i] / b.q[i]; });
  }
  /// a * b + c
  friend VecPortable fma(const VecPortable& a, const VecPortable& b, const VecPortable& c) {
    return make([&](int i) { return a.q[i] * b.q[i] + c.q[i]; });
  }
  /// b where the two don't compare.
  friend VecPortable max(const VecPortable& a, const VecPortable& b) {
    return make([&](int i) { return a.q[i] > b.q[i] ? a.q[i] : b.q[i]; });
  }
  friend VecPortable min(const VecPortable& a, const VecPortable& b) {
    return make([&](int i) { return a.q[i] < b.q[i] ? a.q[i] : b.q[i]; });
  }
  template <class Op>
  static VecPortable each(const VecPortable& a, Op op) {
    float lanes[16];
    a.store(lanes);
    for (float& x : lanes) x = op(x);
    return load(lanes);
  }
  friend VecPortable sqrt(const VecPortable& a) {
    return each(a, [](float x) { return std::sqrt(x); });
  }
  friend VecPortable abs(const VecPortable& a) {
    return make(
        [&](int i) { return reinterpret_cast<Quad>(reinterpret_cast<IntQuad>(a.q[i]) & 0x7fffffff); });
  }
  /// To the nearest whole number, ties to even; |a| < 2^22.
  friend VecPortable round(const VecPortable& a) {
    const Quad magic = spread(0x1.8p23f);  // its last bit is worth one
    return make([&](int i) {
      const IntQuad sign = reinterpret_cast<IntQuad>(a.q[i]) & static_cast<int32_t>(0x80000000u);
      return reinterpret_cast<Quad>(reinterpret_cast<IntQuad>((a.q[i] + magic) - magic) | sign);
    });
  }
  /// 2^n for whole n in [-126, 127]; 0 for -127.
  friend VecPortable exp2_int(const VecPortable& n) {
    return make([&](int i) {
      return reinterpret_cast<Quad>((__builtin_convertvector(n.q[i], IntQuad) + 127) << 23);
    });
  }
  /// a > b ? x : y, lane by lane.
  friend VecPortable select_greater(const VecPortable& a, const VecPortable& b, const VecPortable& x,
                                    const VecPortable& y) {
    return make([&](int i) { return a.q[i] > b.q[i] ? x.q[i] : y.q[i]; });
  }
  /// One tree for all: lanes i and i + 8, then + 4, + 2, + 1.
  friend float reduce_sum(const VecPortable& a) {
    const Quad h4 = (a.q[0] + a.q[2]) + (a.q[1] + a.q[3]);
    return (h4[0] + h4[2]) + (h4[1] + h4[3]);
  }
  friend float reduce_max(const VecPortable& a) {
    float lanes[16];
    a.store(lanes);
    float largest = lanes[0];
    for (float x : lanes) largest = x > largest ? x : largest;
    return largest;
  }
};

}  // namespace
}  // namespace lapidary::cpu
