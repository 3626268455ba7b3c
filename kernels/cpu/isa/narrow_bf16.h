#pragma once

#include <cstdint>

#include "kernels/cpu/isa/vec_avx512.h"

namespace lapidary::cpu {
namespace {  // internal linkage: see vec_avx512.h

/// Weights of attention become bf16 by vcvtne2ps2bf16: to nearest, ties to even, those below 2^-126 to zero.
struct NarrowBf16 {
  static void store(uint16_t* y, VecAvx512 a, VecAvx512 b) {
    _mm512_storeu_si512(y, (__m512i)_mm512_cvtne2ps_pbh(b.v, a.v));
  }
};

}  // namespace
}  // namespace lapidary::cpu
