#include "sharding/peer_sums.h"

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

bool PeerSums::takes(Tensor y, const SumTree::Finish& finish) const {
  const int64_t numbers = y.rows() * y.cols();
  return numbers * static_cast<int64_t>(sizeof(float)) <= bytes_ && numbers <= sum_->most() &&
         finish.merges.size() == finish.blocks.size();  // each rank has one
}

void PeerSums::measure(Communicator& host, Backend& ops, const Otherwise& otherwise) {
  const auto ranks = static_cast<size_t>(host.size());
  SumTree::Finish finish{std::vector<int>(ranks, 1), std::vector<int>(ranks, 1)};
  finish.merges[0] = 0;
  constexpr int64_t kCols = 256;
  const int64_t most = sum_->most();
  const Buffer memory = ops.allocate(static_cast<size_t>(2 * most) * sizeof(float));
  auto* numbers = reinterpret_cast<float*>(memory.get());
  int64_t best = 0;
  bool wins = true;
  for (int64_t n = kCols; n <= most; n *= 4) {
    const Tensor y = view(numbers, DType::f32, n / kCols, kCols);
    const Tensor mine = view(numbers + most, DType::f32, n / kCols, kCols);
    const double own = time_of(ops, [&] { sum(y, mine, finish); });
    const double other = time_of(ops, [&] { otherwise(y, mine, finish); });
    wins = wins && own < other;  // all ranks go on: they sum together
    if (wins) best = n * static_cast<int64_t>(sizeof(float));
  }
  host.broadcast(reinterpret_cast<std::byte*>(&best), sizeof(best), 0);
  bytes_ = best;
}

}  // namespace lapidary
