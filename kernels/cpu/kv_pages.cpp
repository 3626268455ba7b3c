#include "kernels/cpu/kv_pages.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

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

void store_page_f32(float* page, const PageLayout& layout, const NewTokens& in) {
  float* values = page + layout.key_size;
  for (int64_t t = in.begin; t < in.end; ++t) {
    const float* k = in.k.row<float>(t - in.begin);
    const float* v = in.v.row<float>(t - in.begin);
    float* key = page + t / kPanel * kPanel * layout.inner + t % kPanel;
    for (int64_t d = 0; d < layout.head_dim; ++d) key[d * kPanel] = k[d];
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

void store_page_bf16(uint16_t* page, const PageLayout& layout, const NewTokens& in) {
  uint16_t* values = page + layout.key_size;
  for (int64_t t = in.begin; t < in.end; ++t) {
    const float* k = in.k.row<float>(t - in.begin);
    const float* v = in.v.row<float>(t - in.begin);
    uint16_t* key = page + t / kPanel * kPanel * layout.inner + t % kPanel * 2;
    const auto pair = [](int64_t i) { return i / 2 * 2 * kPanel + i % 2; };
    for (int64_t d = 0; d < layout.head_dim; ++d) key[pair(d)] = to_bf16(k[d]);
    for (int64_t d = layout.head_dim; d < layout.inner; ++d) key[pair(d)] = 0;
    for (int64_t d = 0; d < layout.head_dim; ++d) {
      values[d / kPanel * kPanel * kTokens + d % kPanel * 2 + pair(t)] = to_bf16(v[d]);
    }
  }
  if (in.begin > 0) return;
  for (int64_t p = 0; p < layout.value_panels; ++p) {
    uint16_t* panel = values + p * kPanel * kTokens;
    if (in.end % 2 != 0) {  // the last token is the first of a pair
      for (int64_t lane = 0; lane < kPanel; ++lane) panel[(in.end / 2 * kPanel + lane) * 2 + 1] = 0;
    }
    std::fill(panel + round_up(in.end, 2) * kPanel, panel + kTokens * kPanel, uint16_t{0});
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
          store_page_bf16(reinterpret_cast<uint16_t*>(at), layout, {part(k), part(v), from, to});
        }
      }
    });
  };
  if (k.rows() * k.cols() < kWorthForking) return store(0, std::numeric_limits<int64_t>::max());
  threads.parallel_for(written * shape.kv_heads, 1, store);
}

}  // namespace lapidary::cpu
