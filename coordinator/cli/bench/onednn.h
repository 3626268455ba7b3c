#pragma once

#include <cstdint>
#include <optional>

namespace lapidary {

/// Seconds of one product y [m, n] = x [m, k] · wᵀ by oneDNN, its weight packed as it likes beforehand; a run
/// of its own comes first. Nothing in a build without oneDNN.
std::optional<double> onednn_matmul_seconds(int64_t m, int64_t n, int64_t k, bool bf16, int threads);

}  // namespace lapidary
