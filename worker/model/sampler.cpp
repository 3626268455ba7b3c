#include "worker/model/sampler.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/draw.h"

namespace lapidary {
namespace {

constexpr int64_t kMostListed = Backend::kMostListed;
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
Tensor lists_in(Tensor room, int64_t rows, int64_t width) {
  return view(room.data, DType::i32, rows, 2 * width);
}

}  // namespace

Sampler::Sampler(Rank rank, int64_t rows)
    : rank_(rank),
      space_(rank.ops),
      found_(space_.make(rows, 2 * kMostListed, DType::i32)),
      all_(rank.comm.size() > 1 ? space_.make(rank.comm.size() * rows, 2 * kMostListed, DType::i32) : found_),
      tokens_(space_.make(rows, 1, DType::i32)) {}

bool Sampler::needs_host(std::span<const TokenDraw> draws) {
  return !std::ranges::all_of(draws, Backend::is_listed);
}

int64_t Sampler::width(std::span<const TokenDraw> draws) {
  int64_t most = 1;
  for (const TokenDraw& draw : draws)
    if (draw.restricted() && Backend::is_listed(draw)) most = std::max<int64_t>(most, draw.top_k);
  return most == 1 ? 1 : most <= 64 ? 64 : kMostListed;  // few kinds of steps
}

void Sampler::draw(Tensor logits, int64_t first_token, float cap, std::span<const TokenDraw> draws) {
  const int64_t rows = std::ssize(draws), ranks = rank_.comm.size(), listed = width(draws);
  if (needs_host(draws)) {
    if (cap > 0) rank_.ops.softcap(logits, cap);
    return draw_with_host(tokens(rows), logits, first_token, draws);
  }
  const Tensor found = lists_in(found_, rows, listed), all = lists_in(all_, ranks * rows, listed);
  rank_.ops.best(found, logits, first_token, cap, draws);
  if (ranks > 1) rank_.comm.gather_rows(all, found);
  rank_.ops.choose(tokens(rows), all, draws);
}

void Sampler::draw_with_host(Tensor tokens, Tensor logits, int64_t first_token,
                             std::span<const TokenDraw> draws) {
  rank_.ops.perturb(logits, first_token, draws);
  std::vector<int32_t> drawn;
  for (size_t row = 0; row < draws.size(); ++row) {
    const auto r = static_cast<int64_t>(row);
    const int k = !draws[row].restricted() ? 1 : draws[row].top_k > 0 ? draws[row].top_k : kAll;
    const auto local = static_cast<int>(std::min<int64_t>(k, logits.cols()));
    auto mine = rank_.ops.top_k(logits.row_range(r, r + 1), first_token, local).at(0);
    const auto best = merge(rank_.comm, std::move(mine), static_cast<size_t>(k));
    drawn.push_back(draws[row].restricted() ? draw_token(best, draws[row]) : best.at(0).token);
  }
  rank_.ops.copy(tokens, view(drawn.data(), DType::i32, std::ssize(drawn), 1));
}

}  // namespace lapidary
