#include "kernels/cpu/passes.h"

#include <algorithm>

#include "kernels/cpu/pack.h"

namespace lapidary::cpu {

Passes::Passes(const Isa& isa, DType dtype, const SumPlan& sums, int64_t block) {
  Pass pass{0, 0, 0, 0};
  const auto close = [&] {
    if (pass.last == pass.first) return;
    passes.push_back(pass);
    pass = {pass.offset + pass.depth, 0, pass.last, pass.last};
  };
  int top = -1;
  for (int j = 0; j < sums.leaves(); ++j) {
    ++top;
    const int64_t real = sums.cuts[j + 1] - sums.cuts[j], leaf = padded_leaf(isa, dtype, real);
    if (leaf <= block && leaf > block - pass.depth) close();
    int64_t at = 0;
    do {  // once for an empty leaf too: its sum is zero
      if (pass.depth == block) close();
      const int64_t depth = std::min(block - pass.depth, leaf - at);
      const bool ends = at + depth == leaf;
      segments.push_back(
          {depth, std::clamp<int64_t>(real - at, 0, depth), top, at > 0, ends ? sums.merges[j] : 0});
      pass.depth += depth;
      ++pass.last;
      at += depth;
    } while (at < leaf);
    top -= sums.merges[j];
  }
  close();
}

}  // namespace lapidary::cpu
