#include "kernels/cpu/kv_pages.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "kernels/cpu/isa/attention_kernels.h"

namespace lapidary::cpu {
namespace {

constexpr int64_t kTokens = KvShape::kPageTokens;
constexpr int64_t kWorthForking = 16384;  // elements: fewer are stored before other threads have woken

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/// Tokens [begin, end) of one page and one KV head; row r of k and v belongs to token begin + r.
struct NewTokens {
  Tensor k, v;
  int64_t begin, end;
};

/// dst [words][16] of a panel: word w of `rows` rows from `lane` on, which lie `stride` words apart. Word by
/// word, as whole lines are written so.
template <class Word>
void interleave(Word* dst, int64_t lane, const Word* src, int64_t stride, int64_t rows, int64_t words) {
  for (int64_t w = 0; w < words; ++w) {
    for (int64_t r = 0; r < rows; ++r) dst[w * kPanel + lane + r] = src[r * stride + w];
  }
}

/// Calls panel(index of the panel, first lane, first new row, rows) for the panels of 16 tokens.
template <class Panel>
void for_key_panels(const NewTokens& in, const Panel& panel) {
  for (int64_t t = in.begin; t < in.end;) {
    const int64_t stop = std::min(in.end, (t / kPanel + 1) * kPanel);
    panel(t / kPanel, t % kPanel, t - in.begin, stop - t);
    t = stop;
  }
}

void store_page_f32(float* page, const PageLayout& layout, const NewTokens& in) {
  for_key_panels(in, [&](int64_t panel, int64_t lane, int64_t row, int64_t rows) {
    interleave(page + panel * kPanel * layout.inner, lane, in.k.row<const float>(row), in.k.stride, rows,
               layout.head_dim);
  });
  float* values = page + layout.key_size;
  for (int64_t t = in.begin; t < in.end; ++t) {
    const float* v = in.v.row<float>(t - in.begin);
    for (int64_t d = 0; d < layout.head_dim; d += kPanel) {
      std::copy_n(v + d, std::min(kPanel, layout.head_dim - d), values + d * kTokens + t * kPanel);
    }
  }
  if (in.begin > 0) return;
  for (int64_t p = 0; p < layout.value_panels; ++p) {
    float* panel = values + p * kPanel * kTokens;
    std::fill(panel + in.end * kPanel, panel + kTokens * kPanel, 0.0f);
  }
}

constexpr int64_t kDims = 128;  // rounded at once

/// Two bf16 numbers side by side, as the panels hold them.
struct Pair {
  uint16_t first = 0, second = 0;
};

void store_keys_bf16(const Isa& isa, Pair* keys, const PageLayout& layout, const NewTokens& in) {
  for (int64_t d = 0; d < layout.inner; d += kDims) {
    const int64_t given = std::clamp<int64_t>(layout.head_dim - d, 0, kDims);
    const int64_t pairs = std::min(kDims, layout.inner - d) / 2;
    for_key_panels(in, [&](int64_t panel, int64_t lane, int64_t row, int64_t rows) {
      uint16_t rounded[kPanel * kDims] = {};
      Pair paired[kPanel * kDims / 2];
      for (int64_t r = 0; r < rows; ++r)
        isa.attention->narrow(rounded + r * kDims, in.k.row<float>(row + r) + d, given);
      std::memcpy(paired, rounded, sizeof paired);
      interleave(keys + (panel * layout.inner + d) * kPanel / 2, lane, paired, kDims / 2, rows, pairs);
    });
  }
}

void store_values_bf16(const Isa& isa, Pair* values, const PageLayout& layout, const NewTokens& in) {
  for (int64_t first = 0; first < layout.head_dim; first += kDims) {
    const int64_t dims = std::min(kDims, layout.head_dim - first);
    Pair* panels = values + first * kTokens / 2;
    // Two tokens a step; where only one of them is new, the other keeps its place.
    for (int64_t t = in.begin / 2 * 2; t < in.end; t += 2) {
      uint16_t even[kDims], odd[kDims];
      const bool has_even = t >= in.begin, has_odd = t + 1 < in.end;
      if (has_even) isa.attention->narrow(even, in.v.row<float>(t - in.begin) + first, dims);
      if (has_odd) isa.attention->narrow(odd, in.v.row<float>(t + 1 - in.begin) + first, dims);
      for (int64_t d = 0; d < dims; ++d) {
        Pair& pair = panels[d / kPanel * kPanel * kTokens / 2 + t / 2 * kPanel + d % kPanel];
        pair = {has_even ? even[d] : pair.first, has_odd ? odd[d] : pair.second};
      }
    }
  }
  if (in.begin > 0) return;
  for (int64_t p = 0; p < layout.value_panels; ++p) {
    Pair* panel = values + p * kPanel * kTokens / 2;
    for (int64_t n = 0; n < kPanel && in.end % 2 != 0; ++n) panel[in.end / 2 * kPanel + n].second = 0;
    std::fill(panel + round_up(in.end, 2) / 2 * kPanel, panel + kTokens / 2 * kPanel, Pair{});
  }
}

/// Calls visit(span, page of the sequence, the page's new tokens [begin, end)) for every page written.
template <class Visit>
void for_written_pages(std::span<const AttentionSpan> spans, const Visit& visit) {
  for (const AttentionSpan& span : spans) {
    const int64_t last = span.position + span.rows;
    for (int64_t t = span.position; t < last;) {
      const int64_t page = t / kTokens;
      const int64_t stop = std::min(last, (page + 1) * kTokens);
      visit(span, page, t - page * kTokens, stop - page * kTokens);
      t = stop;
    }
  }
}

}  // namespace

PageLayout::PageLayout(const Isa& isa, const KvShape& shape)
    : head_dim(shape.head_dim),
      inner(shape.dtype == DType::bf16 ? round_up(shape.head_dim, isa.k_step) : shape.head_dim),
      value_panels(round_up(shape.head_dim, kPanel) / kPanel),
      key_size(kTokens * inner),
      head_bytes(static_cast<size_t>(key_size + value_panels * kPanel * kTokens) * size_of(shape.dtype)),
      page_bytes(head_bytes * static_cast<size_t>(shape.kv_heads)) {
  if (shape.kv_heads <= 0 || shape.head_dim <= 0)
    throw std::logic_error("KvShape: heads and head_dim above 0");
  if (shape.dtype != DType::f32 && shape.dtype != DType::bf16) {
    throw std::logic_error("KvShape: a cache is float32 or bfloat16");
  }
}

size_t kv_page_bytes(const Isa& isa, const KvShape& shape) { return PageLayout(isa, shape).page_bytes; }

void check_span(const AttentionSpan& span, int64_t rows) {
  if (span.rows < 0 || span.first_row < 0 || span.first_row + span.rows > rows) {
    throw std::logic_error("a span's rows lie outside the tensor");
  }
  // Rows may be fewer than the prefix, when all its keys are already stored.
  const int64_t tokens = std::max(span.position + span.rows, span.prefix);
  if (span.position < 0 || tokens > static_cast<int64_t>(span.pages.size()) * kTokens) {
    throw std::logic_error("a span has too few pages for its tokens");
  }
}

void store_kv(ThreadPool& threads, const Isa& isa, std::byte* pages, const KvShape& shape,
              std::span<const AttentionSpan> spans, Tensor k, Tensor v) {
  if (k.dtype != DType::f32 || v.dtype != DType::f32 || k.shape != v.shape ||
      k.cols() != shape.kv_heads * shape.head_dim) {
    throw std::logic_error("store_kv: k and v must be float32 [rows, kv_heads * head_dim]");
  }
  int64_t written = 0;
  for (const AttentionSpan& span : spans) check_span(span, k.rows());
  for_written_pages(spans, [&](const AttentionSpan&, int64_t, int64_t, int64_t) { ++written; });
  const PageLayout layout(isa, shape);

  // A unit is one page and KV head.
  const auto store = [&](int64_t first, int64_t end) {
    int64_t unit = 0;
    for_written_pages(spans, [&](const AttentionSpan& span, int64_t page, int64_t from, int64_t to) {
      const int64_t row = span.first_row + page * kTokens + from - span.position;
      for (int64_t head = 0; head < shape.kv_heads; ++head, ++unit) {
        if (unit < first || unit >= end) continue;
        const auto part = [&](Tensor x) {
          return x.row_range(row, row + to - from)
              .col_range(head * shape.head_dim, (head + 1) * shape.head_dim);
        };
        std::byte* at = layout.head(pages, span.pages[static_cast<size_t>(page)], head);
        if (shape.dtype == DType::f32) {
          store_page_f32(reinterpret_cast<float*>(at), layout, {part(k), part(v), from, to});
        } else {
          const NewTokens in{part(k), part(v), from, to};
          Pair* page_pairs = reinterpret_cast<Pair*>(at);
          store_keys_bf16(isa, page_pairs, layout, in);
          store_values_bf16(isa, page_pairs + layout.key_size / 2, layout, in);
        }
      }
    });
  };
  if (k.rows() * k.cols() < kWorthForking) return store(0, std::numeric_limits<int64_t>::max());
  threads.parallel_for(written * shape.kv_heads, 1, store);
}

}  // namespace lapidary::cpu
