#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/isa/isa.h"

namespace lapidary::cpu {

/// A product's way along the inner dimension: passes over blocks of about the same depth, each made of whole
/// or cut leaves. A cut leaf goes on from its stored sum, so that passes change no bit.
struct Segment {
  int64_t depth;    // steps of a panel
  int64_t real;     // of these, elements of x; the rest is padding
  int top;          // place on the stack of SumPlan of the leaf's sum
  bool accumulate;  // not the first segment of its leaf
  int merges;       // to do once it is added
};

struct Pass {
  int64_t offset, depth;  // steps of a panel
  size_t first, last;     // segments [first, last)
};

struct Passes {
  std::vector<Segment> segments;
  std::vector<Pass> passes;

  /// Passes of at most `block` steps, a multiple of k_step. A leaf that fits into a pass is not cut.
  Passes(const Isa& isa, DType dtype, const SumPlan& sums, int64_t block);
};

}  // namespace lapidary::cpu
