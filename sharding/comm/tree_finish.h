#pragma once

#include <cstdint>
#include <span>

namespace lapidary {

/// y[i] = blocks[0][i] … added by the stack machine that `merges` spells, for i in [0, n). Elementwise, so
/// any slice of the elements may be finished anywhere with the same bits.
void finish_tree(float* y, std::span<const float* const> blocks, std::span<const int> merges, int64_t n);

}  // namespace lapidary
