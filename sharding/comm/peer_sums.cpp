#include "sharding/comm/peer_sums.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace lapidary {
namespace {

/// Seconds of a few calls of `body`, after a few that warm up.
double time_of(Backend& ops, const std::function<void()>& body) {
  constexpr int kWarm = 3, kTimes = 20;
  for (int i = 0; i < kWarm; ++i) body();
  ops.synchronize();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kTimes; ++i) body();
  ops.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

bool PeerAllReduces::takes(Tensor y, const SumTree::Finish& finish) const {
  const int64_t numbers = y.rows() * y.cols();
  return numbers * static_cast<int64_t>(sizeof(float)) <= bytes_ && numbers <= sum_->max_elements() &&
         finish.merges.size() == finish.blocks.size();  // each rank has one
}

void PeerAllReduces::measure(Communicator& host, Backend& ops, const Otherwise& otherwise) {
  const auto ranks = static_cast<size_t>(host.size());
  SumTree::Finish finish{std::vector<int>(ranks, 1), std::vector<int>(ranks, 1)};
  finish.merges[0] = 0;
  constexpr int64_t kLeast = 256, kRow = 4096;  // numbers; rows of Gemma 2 have 2304 to 4608
  const int64_t most = sum_->max_elements();
  const Buffer memory = ops.allocate(static_cast<size_t>(3 * most + kRow) * sizeof(float));
  auto* numbers = reinterpret_cast<float*>(memory.get());
  const float* gains = numbers + 3 * most;
  int64_t best = 0;
  bool wins = true;
  for (int64_t n = kLeast; n <= most; n *= 4) {
    const int64_t cols = std::min(n, kRow);
    const auto tensor = [&](int64_t at) { return view(numbers + at * most, DType::f32, n / cols, cols); };
    const Tensor sum = tensor(0), x = tensor(1), mine = tensor(2);
    const AddNorm to{sum, x, sum, gains, gains, 1e-6f};
    const double own = time_of(ops, [&] { all_reduce_add_norm(to, mine, finish); });
    const double other = time_of(ops, [&] {
      otherwise(sum, mine, finish);
      ops.add_rms_norm(to);
    });
    wins = wins && own < other;  // all ranks go on: they sum together
    if (wins) best = n * static_cast<int64_t>(sizeof(float));
  }
  host.broadcast(reinterpret_cast<std::byte*>(&best), sizeof(best), 0);
  bytes_ = best;
}

}  // namespace lapidary
