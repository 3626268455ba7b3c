#include "worker/sampler.h"

#include <algorithm>
#include <cmath>

namespace lapidary {
namespace {

/// Restricted draws need the best candidates in order; plain ones only the largest (perturbed) logit.
bool restricted(const SampleSpec& spec) { return spec.temperature > 0 && (spec.top_k > 0 || spec.top_p < 1); }

/// SplitMix64's finisher over both keys: in (0, 1).
double uniform(uint64_t seed, int64_t position) {
  uint64_t z = seed + 0x9e3779b97f4a7c15u * (static_cast<uint64_t>(position) + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return (static_cast<double>(z >> 11) + 0.5) * 0x1p-53;
}

bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

/// The k best of all ranks' candidates, best first.
std::vector<Candidate> merge(Rank rank, std::vector<Candidate> mine, size_t k) {
  if (rank.comm.size() > 1) {
    std::vector<size_t> bytes(static_cast<size_t>(rank.comm.size()));
    const size_t own = mine.size() * sizeof(Candidate);
    std::vector<size_t> eight(bytes.size(), sizeof(size_t));
    rank.comm.all_gather(reinterpret_cast<std::byte*>(bytes.data()), std::as_bytes(std::span(&own, 1)),
                         eight);
    size_t total = 0;
    for (size_t b : bytes) total += b;
    std::vector<Candidate> all(total / sizeof(Candidate));
    rank.comm.all_gather(reinterpret_cast<std::byte*>(all.data()), std::as_bytes(std::span(mine)), bytes);
    mine = std::move(all);
    std::sort(mine.begin(), mine.end(), before);
  }
  if (mine.size() > k) mine.resize(k);
  return mine;
}

}  // namespace

int32_t draw(std::span<const Candidate> candidates, const SampleSpec& spec) {
  std::vector<double> weights;
  double total = 0;
  for (const Candidate& c : candidates) {
    weights.push_back(std::exp((static_cast<double>(c.logit) - candidates[0].logit) / spec.temperature));
    total += weights.back();
  }
  double kept = 0;
  size_t count = 0;  // the smallest set that reaches top_p, never empty
  while (count < weights.size() && (count == 0 || kept < spec.top_p * total)) kept += weights[count++];
  double left = uniform(spec.seed, spec.position) * kept;
  for (size_t i = 0; i < count; ++i) {
    left -= weights[i];
    if (left < 0) return candidates[i].token;
  }
  return candidates[count - 1].token;
}

std::vector<int32_t> sample(Rank rank, Tensor logits, int64_t first_token,
                            std::span<const SampleSpec> specs) {
  std::vector<Backend::Draw> draws;
  bool any = false;
  for (const SampleSpec& spec : specs) {
    draws.push_back({restricted(spec) ? 0 : spec.temperature, spec.seed, spec.position});
    any = any || draws.back().temperature > 0;
  }
  if (any) rank.ops.perturb(logits, first_token, draws);

  // The largest of every row in one exchange: [rows] candidates a rank.
  const auto best = rank.ops.top_k(logits, first_token, 1);
  std::vector<Candidate> mine, all(specs.size() * static_cast<size_t>(rank.comm.size()));
  for (const auto& row : best) mine.push_back(row.at(0));
  const std::vector<size_t> bytes(static_cast<size_t>(rank.comm.size()), mine.size() * sizeof(Candidate));
  rank.comm.all_gather(reinterpret_cast<std::byte*>(all.data()), std::as_bytes(std::span(mine)), bytes);

  std::vector<int32_t> tokens;
  for (size_t row = 0; row < specs.size(); ++row) {
    if (restricted(specs[row])) {
      const auto r = static_cast<int64_t>(row);
      const int k =
          specs[row].top_k > 0 ? specs[row].top_k : static_cast<int>(logits.cols()) * rank.comm.size();
      const int local = static_cast<int>(std::min<int64_t>(k, logits.cols()));
      auto candidates = rank.ops.top_k(logits.row_range(r, r + 1), first_token, local).at(0);
      tokens.push_back(draw(merge(rank, std::move(candidates), static_cast<size_t>(k)), specs[row]));
      continue;
    }
    Candidate top = all[row];
    for (size_t i = row + specs.size(); i < all.size(); i += specs.size())
      if (before(all[i], top)) top = all[i];
    tokens.push_back(top.token);
  }
  return tokens;
}

}  // namespace lapidary
