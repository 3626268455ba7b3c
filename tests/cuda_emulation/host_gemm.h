#pragma once

#include <array>
#include <cstdint>
#include <set>

#include "kernels/cuda/matmul/gemm_library.h"

namespace lapidary::cuda {

/// Products by plain loops in float32, in place of NVIDIA's library. It offers a few algorithms, which all
/// compute the same, and says how long each took as it is told to.
class HostGemm final : public GemmLibrary {
 public:
  static constexpr uint64_t kAlgorithms = 4;
  struct Rules {
    std::array<float, kAlgorithms> times{4, 3, 2, 5};  // milliseconds
    uint64_t refused = 0;                   // the algorithm (from 1) that is offered, but refused…
    int64_t refused_above = 0;              // … for more rows than this
    bool float8 = true, row_scales = true;  // what the library has
  };

  HostGemm() = default;
  explicit HostGemm(Rules given) : rules(given) {}

  std::string version() const override { return "host 1"; }
  std::vector<Algorithm> candidates(const GemmCall& call, int max_count) override;
  bool run(Stream stream, const GemmCall& call, const Algorithm& algorithm, std::byte* workspace) override;
  float time(Stream stream, const GemmCall& call, const Algorithm& algorithm, std::byte* workspace) override;

  /// How many multiprocessors products of this process were told to fill since this was last asked.
  static std::set<int> filled();

  const Rules rules;
  std::array<int, kAlgorithms> runs{};  // of each algorithm
  int asked = 0;                        // how often for candidates
};

}  // namespace lapidary::cuda
