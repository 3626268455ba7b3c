#include "sharding/comm/tree_finish.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

namespace lapidary {

void finish_tree(float* y, std::span<const float* const> blocks, std::span<const int> merges, int64_t n) {
  constexpr int64_t kChunk = 1024;  // the stack stays in the first-level cache
  constexpr size_t kDepth = 8;      // deeper than any tree over 32 leaves
  std::array<std::array<float, kChunk>, kDepth> stack;
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const auto count = static_cast<size_t>(std::min(kChunk, n - begin));
    size_t depth = 0;
    for (size_t b = 0; b < blocks.size(); ++b) {
      if (depth == kDepth) throw std::logic_error("sum tree deeper than its stack");
      std::memcpy(stack[depth++].data(), blocks[b] + begin, count * sizeof(float));
      for (int m = 0; m < merges[b]; ++m, --depth) {
        float* low = stack[depth - 2].data();
        const float* high = stack[depth - 1].data();
        for (size_t i = 0; i < count; ++i) low[i] += high[i];
      }
    }
    std::memcpy(y + begin, stack[0].data(), count * sizeof(float));
  }
}

}  // namespace lapidary
