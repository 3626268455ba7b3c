#pragma once

#include <algorithm>
#include <numeric>

#include "tests/kernels/kernel_test.h"

namespace lapidary {

/// What one attention layer is asked for.
struct AttentionCase {
  KvShape shape;
  AttentionArgs args;
};

/// Everything about one sequence: its keys, values and queries from token 0 on, and its pages.
struct Sequence {
  Rows q, k, v;
  int64_t prefix;
  std::vector<int32_t> pages;

  Sequence(const AttentionCase& c, int64_t tokens, int64_t prefix_tokens, uint32_t seed)
      : q(Rows::random(tokens, c.args.heads * c.shape.head_dim, seed)),
        k(Rows::random(tokens, c.shape.kv_heads * c.shape.head_dim, seed + 1)),
        v(Rows::random(tokens, c.shape.kv_heads * c.shape.head_dim, seed + 2)),
        prefix(prefix_tokens),
        pages(static_cast<size_t>((tokens + KvShape::kPageTokens - 1) / KvShape::kPageTokens)) {}

  int64_t tokens() const { return q.rows(); }
  AttentionSpan span(int64_t first_row, int64_t rows, int64_t position) const {
    return {first_row, rows, position, prefix, pages};
  }
};

/// Pages full of NaNs, as if an earlier sequence had left the worst behind, dealt out in shuffled order.
class Pages {
 public:
  Pages(Backend& ops, const KvShape& shape, std::vector<Sequence*> sequences) {
    size_t count = 0;
    for (const Sequence* s : sequences) count += s->pages.size();
    std::vector<int32_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    size_t next = 0;
    for (Sequence* s : sequences) {
      for (int32_t& page : s->pages) page = order[next++];
    }
    const size_t bytes = count * ops.kv_page_bytes(shape);
    memory_ = ops.allocate(bytes);
    std::vector<std::byte> worst(bytes, std::byte{0xff});
    const auto count_of_bytes = static_cast<int64_t>(bytes);
    ops.copy(view(memory_.get(), DType::u8, 1, count_of_bytes),
             view(worst.data(), DType::u8, 1, count_of_bytes));
  }
  std::byte* data() { return memory_.get(); }

 private:
  Buffer memory_;
};

/// Rows [begin, end) of a sequence as one step of its own: stored, then attended to.
inline void step(Backend& ops, const AttentionCase& c, Pages& pages, Sequence& s, Rows& out, int64_t begin,
                 int64_t end) {
  const AttentionSpan span = s.span(0, end - begin, begin);
  ops.store_kv(pages.data(), c.shape, {&span, 1}, s.k.tensor().row_range(begin, end),
               s.v.tensor().row_range(begin, end));
  ops.attention(out.tensor().row_range(begin, end), s.q.tensor().row_range(begin, end), pages.data(), c.shape,
                {&span, 1}, c.args);
  ops.synchronize();
}

/// One head of one row in double, and how far a float32 computation may be from it.
struct Expected {
  std::vector<double> out;
  std::vector<double> bound;
};

inline Expected attend(const AttentionCase& c, const Sequence& s, int64_t i, int64_t head) {
  const bool bf16 = c.shape.dtype == DType::bf16;
  const int64_t d = c.shape.head_dim;
  const int64_t kv = (head + c.args.head_offset) / c.args.group;
  const auto stored = [&](float x) { return double{bf16 ? from_bf16(to_bf16(x)) : x}; };
  const KeyRange keys = visible_keys(i, s.prefix, c.args.window, c.args.window_in_prefix);
  std::vector<double> scores;
  double score_error = 0, most = -1e300;
  for (int64_t j = keys.begin; j < keys.end; ++j) {
    double score = 0, terms = 0;
    for (int64_t e = 0; e < d; ++e) {
      const double term = stored(s.q.at(i, head * d + e)) * stored(s.k.at(j, kv * d + e)) * c.args.scale;
      score += term;
      terms += std::fabs(term);
    }
    // A sum of d products, scaled; the cap's tanh adds 4 ulp of at most the score itself.
    score_error = std::max(score_error, (static_cast<double>(d) + 12) * kEps * terms);
    if (c.args.softcap > 0) score = c.args.softcap * std::tanh(score / c.args.softcap);
    scores.push_back(score);
    most = std::max(most, score);
  }
  Expected e{std::vector<double>(static_cast<size_t>(d)), std::vector<double>(static_cast<size_t>(d))};
  double sum = 0;
  for (double& w : scores) sum += w = std::exp(w - most);
  for (int64_t j = keys.begin; j < keys.end; ++j) {
    const double w = scores[static_cast<size_t>(j - keys.begin)] / sum;
    for (int64_t n = 0; n < d; ++n) {
      const double term = w * stored(s.v.at(j, kv * d + n));
      e.out[static_cast<size_t>(n)] += term;
      e.bound[static_cast<size_t>(n)] += std::fabs(term);
    }
  }
  // Errors of the scores count twice, above and below the bar; then the sums over the keys and some thirty
  // roundings of the exponential, its rescaling and the division; a bf16 weight is rounded to 8 bits, above
  // the bar only.
  const double relative = 2 * score_error +
                          (static_cast<double>(scores.size()) + 30 + 4 * std::fabs(most)) * kEps +
                          (bf16 ? 0x1p-8 : 0);
  for (double& b : e.bound) b = b * relative + 1e-30;
  return e;
}

inline void expect_rows(const AttentionCase& c, const Sequence& s, const Rows& out, int64_t first_row,
                        int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t head = 0; head < c.args.heads; ++head) {
      const Expected want = attend(c, s, i, head);
      for (int64_t n = 0; n < c.shape.head_dim; ++n) {
        const auto at = static_cast<size_t>(n);
        ASSERT_NEAR(out.at(first_row + i - begin, head * c.shape.head_dim + n), want.out[at], want.bound[at])
            << "token " << i << ", head " << head << ", dimension " << n;
      }
    }
  }
}

}  // namespace lapidary
