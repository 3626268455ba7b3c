#include "kernels/cpu/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/cpu/isa/row_kernels.h"
#include "kernels/cpu/row_ops.h"
#include "kernels/draw.h"

namespace lapidary::cpu {
namespace {

// A block is skipped as a whole when its largest logit can't enter; small enough to stay in L1 when it can.
constexpr int64_t kBlock = 512;

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// The k best candidates seen so far; the worst of them on top of a heap.
class Best {
 public:
  explicit Best(size_t k) : k_(k) {}

  bool full() const { return heap_.size() == k_; }
  float worst() const { return heap_.front().logit; }

  // Tokens come in ascending order, so that a tie with the worst loses.
  void offer(int32_t token, float logit) {
    if (full()) {
      if (!(logit > worst())) return;
      std::pop_heap(heap_.begin(), heap_.end(), before);
      heap_.back() = {token, logit};
    } else {
      heap_.push_back({token, logit});
    }
    std::push_heap(heap_.begin(), heap_.end(), before);
  }

  std::vector<Candidate> take() { return std::move(heap_); }

 private:
  size_t k_;
  std::vector<Candidate> heap_;
};

std::vector<Candidate> best_of(const Isa& isa, const float* logits, int64_t begin, int64_t end,
                               int64_t first_token, size_t k) {
  Best best(k);
  for (int64_t b = begin; b < end; b += kBlock) {
    const int64_t stop = std::min(b + kBlock, end);
    if (best.full() && !(isa.rows->largest(logits + b, stop - b) > best.worst())) continue;
    for (int64_t i = b; i < stop; ++i) {
      const float logit = std::isnan(logits[i]) ? -std::numeric_limits<float>::infinity() : logits[i];
      best.offer(static_cast<int32_t>(first_token + i), logit);
    }
  }
  return best.take();
}

}  // namespace

void add_gumbel_noise(ThreadPool& threads, const Isa& isa, Tensor logits, int64_t first_token,
                      std::span<const SamplingParams> sampling) {
  if (logits.dtype != DType::f32 || static_cast<int64_t>(sampling.size()) != logits.rows()) {
    throw std::logic_error("add_gumbel_noise: one SamplingParams a row of float32 logits");
  }
  for (const SamplingParams& draw : sampling) {
    if (!(draw.temperature >= 0)) throw std::logic_error("add_gumbel_noise: a temperature below 0");
  }
  threads.parallel_for(logits.cols(), kBlock, [&](int64_t begin, int64_t end) {
    if (begin == end) return;
    for (int64_t r = 0; r < logits.rows(); ++r) {
      const SamplingParams& draw = sampling[static_cast<size_t>(r)];
      if (draw.temperature == 0 || draw.restricted()) continue;
      const uint64_t stream =
          mix(mix(draw.seed + 0x9e3779b97f4a7c15u) + static_cast<uint64_t>(draw.position));
      isa.rows->gumbel(logits.row<float>(r) + begin, draw.temperature, stream, first_token + begin,
                       end - begin);
    }
  });
}

std::vector<std::vector<Candidate>> top_k(ThreadPool& threads, const Isa& isa, Tensor logits,
                                          int64_t first_token, int k) {
  if (logits.dtype != DType::f32 || k < 0) throw std::logic_error("top_k: float32 logits and k of 0 or more");
  const auto rows = static_cast<size_t>(logits.rows());
  const auto size = static_cast<size_t>(std::min<int64_t>(k, logits.cols()));
  std::vector<std::vector<Candidate>> result(rows);
  if (size == 0) return result;
  // Each thread finds the best of its columns; whoever is among all the best is among them.
  const int parts = threads.size();
  std::vector<std::vector<Candidate>> found(rows * static_cast<size_t>(parts));
  threads.run([&](int thread) {
    const int64_t begin = logits.cols() * thread / parts;
    const int64_t end = logits.cols() * (thread + 1) / parts;
    for (size_t r = 0; r < rows; ++r) {
      found[r * static_cast<size_t>(parts) + static_cast<size_t>(thread)] =
          best_of(isa, logits.row<float>(static_cast<int64_t>(r)), begin, end, first_token, size);
    }
  });
  for (size_t r = 0; r < rows; ++r) {
    std::vector<Candidate>& all = result[r];
    for (int p = 0; p < parts; ++p) {
      const auto& part = found[r * static_cast<size_t>(parts) + static_cast<size_t>(p)];
      all.insert(all.end(), part.begin(), part.end());
    }
    std::partial_sort(all.begin(), all.begin() + static_cast<int64_t>(size), all.end(), before);
    all.resize(size);
  }
  return result;
}

namespace {

void require(bool holds, const char* rule) {
  if (!holds) throw std::logic_error(std::string("sampling: ") + rule);
}

int64_t candidates_of(const SamplingParams& draw) { return draw.restricted() ? draw.top_k : 1; }

/// Rows of candidates.
struct Lists {
  Candidate* data;
  int64_t rows, width, stride;

  explicit Lists(Tensor found)
      : data(static_cast<Candidate*>(found.data)),
        rows(found.rows()),
        width(found.cols() / 2),
        stride(found.stride / 2) {
    require(found.dtype == DType::i32 && found.cols() % 2 == 0 && found.stride % 2 == 0 && width > 0,
            "candidates are pairs of int32");
  }
  Candidate* row(int64_t r) const { return data + r * stride; }
};

void require_tokens(Tensor x) {
  require(x.dtype == DType::i32 && x.cols() == 1, "tokens are int32 [rows, 1]");
}

}  // namespace

void top_candidates(ThreadPool& threads, const Isa& isa, Tensor found, Tensor logits, int64_t first_token,
                    float cap, std::span<const SamplingParams> sampling) {
  const Lists lists(found);
  require(lists.rows == logits.rows() && std::ssize(sampling) == lists.rows,
          "one SamplingParams a row of logits");
  for (const SamplingParams& draw : sampling)
    require(Backend::samples_on_device(draw) && candidates_of(draw) <= lists.width, "a list of this length");
  if (cap > 0) softcap(threads, isa, logits, cap);
  if (std::ranges::any_of(sampling, [](const auto& d) { return d.temperature > 0 && !d.restricted(); }))
    add_gumbel_noise(threads, isa, logits, first_token, sampling);
  const auto largest = top_k(threads, isa, logits, first_token, 1);
  for (int64_t r = 0; r < lists.rows; ++r) {
    const SamplingParams& draw = sampling[static_cast<size_t>(r)];
    Candidate* to = lists.row(r);
    const auto write = [&](const std::vector<Candidate>& from) {
      std::fill(std::copy(from.begin(), from.end(), to), to + lists.width, kNoCandidate);
    };
    if (draw.restricted()) {
      write(top_k(threads, isa, logits.row_range(r, r + 1), first_token, draw.top_k).front());
    } else {
      write(largest[static_cast<size_t>(r)]);
    }
  }
}

void sample(Tensor tokens, Tensor found, std::span<const SamplingParams> sampling) {
  require_tokens(tokens);
  const Lists lists(found);
  const int64_t rows = std::ssize(sampling);
  require(tokens.rows() == rows && lists.rows % std::max<int64_t>(rows, 1) == 0,
          "one SamplingParams a row of tokens");
  std::vector<Candidate> all;
  for (int64_t r = 0; r < rows; ++r) {
    const SamplingParams& draw = sampling[static_cast<size_t>(r)];
    const int64_t count = candidates_of(draw);
    require(Backend::samples_on_device(draw) && count <= lists.width, "a list of this length");
    all.clear();
    for (int64_t row = r; row < lists.rows; row += rows)
      for (const Candidate* c = lists.row(row); c < lists.row(row) + count; ++c)
        if (c->token != kNoCandidate.token) all.push_back(*c);
    std::sort(all.begin(), all.end(), before);
    if (std::ssize(all) > count) all.resize(static_cast<size_t>(count));
    require(!all.empty(), "a row without candidates");
    *tokens.row<int32_t>(r) = draw.restricted() ? draw_token(all, draw) : all.front().token;
  }
}

void scatter(Tensor token_table, std::span<const int32_t> slots, Tensor tokens) {
  require_tokens(token_table);
  require_tokens(tokens);
  require(std::ssize(slots) == tokens.rows(), "one slot a token");
  for (size_t r = 0; r < slots.size(); ++r) {
    require(slots[r] >= 0 && slots[r] < token_table.rows(), "a slot lies outside the token table");
    *token_table.row<int32_t>(slots[r]) = *tokens.row<int32_t>(static_cast<int64_t>(r));
  }
}

}  // namespace lapidary::cpu
