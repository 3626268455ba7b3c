#include "worker/model/sampler.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/draw.h"

namespace lapidary {
namespace {

constexpr int64_t kMaxCandidates = Backend::kMaxCandidates;
constexpr int kAll = std::numeric_limits<int>::max();  // the whole vocabulary

/// The k best of all ranks' candidates, best first.
std::vector<Candidate> merge(Communicator& comm, std::vector<Candidate> mine, size_t k) {
  if (comm.size() > 1) {
    std::vector<size_t> bytes(static_cast<size_t>(comm.size()));
    const size_t own = mine.size() * sizeof(Candidate);
    std::vector<size_t> eight(bytes.size(), sizeof(size_t));
    comm.all_gather(reinterpret_cast<std::byte*>(bytes.data()), std::as_bytes(std::span(&own, 1)), eight);
    size_t total = 0;
    for (size_t b : bytes) total += b;
    std::vector<Candidate> all(total / sizeof(Candidate));
    comm.all_gather(reinterpret_cast<std::byte*>(all.data()), std::as_bytes(std::span(mine)), bytes);
    mine = std::move(all);
    std::sort(mine.begin(), mine.end(), before);
  }
  if (mine.size() > k) mine.resize(k);
  return mine;
}

/// Contiguous lists of `width` candidates.
Tensor lists_in(Tensor scratch, int64_t rows, int64_t width) {
  return view(scratch.data, DType::i32, rows, 2 * width);
}

}  // namespace

Sampler::Sampler(Rank rank, int64_t rows)
    : rank_(rank),
      space_(rank.ops),
      found_(space_.make(rows, 2 * kMaxCandidates, DType::i32)),
      all_(rank.comm.size() > 1 ? space_.make(rank.comm.size() * rows, 2 * kMaxCandidates, DType::i32)
                                : found_),
      tokens_(space_.make(rows, 1, DType::i32)) {}

bool Sampler::needs_host(std::span<const SamplingParams> sampling) {
  return !std::ranges::all_of(sampling, Backend::samples_on_device);
}

int64_t Sampler::width(std::span<const SamplingParams> sampling) {
  int64_t most = 1;
  for (const SamplingParams& draw : sampling)
    if (draw.restricted() && Backend::samples_on_device(draw)) most = std::max<int64_t>(most, draw.top_k);
  return most == 1 ? 1 : most <= 64 ? 64 : kMaxCandidates;  // few kinds of steps
}

void Sampler::sample(Tensor logits, int64_t first_token, float cap,
                     std::span<const SamplingParams> sampling) {
  const int64_t rows = std::ssize(sampling), ranks = rank_.comm.size(), listed = width(sampling);
  if (needs_host(sampling)) {
    if (cap > 0) rank_.ops.softcap(logits, cap);
    return sample_on_host(tokens(rows), logits, first_token, sampling);
  }
  const Tensor found = lists_in(found_, rows, listed), all = lists_in(all_, ranks * rows, listed);
  rank_.ops.top_candidates(found, logits, first_token, cap, sampling);
  if (ranks > 1) rank_.comm.all_gather(all, found);
  rank_.ops.sample(tokens(rows), all, sampling);
}

void Sampler::sample_on_host(Tensor tokens, Tensor logits, int64_t first_token,
                             std::span<const SamplingParams> sampling) {
  rank_.ops.add_gumbel_noise(logits, first_token, sampling);
  std::vector<int32_t> drawn;
  for (size_t row = 0; row < sampling.size(); ++row) {
    const auto r = static_cast<int64_t>(row);
    const int k = !sampling[row].restricted() ? 1 : sampling[row].top_k > 0 ? sampling[row].top_k : kAll;
    const auto local = static_cast<int>(std::min<int64_t>(k, logits.cols()));
    auto mine = rank_.ops.top_k(logits.row_range(r, r + 1), first_token, local).at(0);
    const auto best = merge(rank_.comm.host(), std::move(mine), static_cast<size_t>(k));
    drawn.push_back(sampling[row].restricted() ? draw_token(best, sampling[row]) : best.at(0).token);
  }
  rank_.ops.copy(tokens, view(drawn.data(), DType::i32, std::ssize(drawn), 1));
}

}  // namespace lapidary
