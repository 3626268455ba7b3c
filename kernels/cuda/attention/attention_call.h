#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/attention/kv_pages.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda/runtime/step_table.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// Rows of q, k, v or out as kernels see them.
struct HeadRows {
  HeadRows() = default;
  HeadRows(Tensor x, int64_t columns)
      : data(static_cast<std::byte*>(x.data)),
        stride(x.stride),
        head_dim(static_cast<int>(columns)),
        bf16(x.dtype == DType::bf16),
        aligned(is_multiple(16)) {}

  /// Element 0 of a head in a row.
  constexpr int64_t at(int64_t row, int64_t head) const { return row * stride + head * head_dim; }

  std::byte* data = nullptr;
  int64_t stride = 0;  // elements
  int head_dim = 0;
  bool bf16 = false;
  bool aligned = false;  // every head begins at a multiple of 16 bytes

 private:
  bool is_multiple(size_t bytes) const {
    const size_t size = bf16 ? 2 : 4;
    return reinterpret_cast<uintptr_t>(data) % bytes == 0 &&
           static_cast<size_t>(stride) * size % bytes == 0 &&
           static_cast<size_t>(head_dim) * size % bytes == 0;
  }
};

/// Local query heads [first, first + count) that read one KV head.
struct HeadRange {
  int first, count;
};

/// One call of attention() as its kernels see it.
struct AttentionCall {
  HeadRows out, q;
  const std::byte* pages;
  PageLayout layout;
  StepView table;
  int heads, group, head_offset;
  float scale, softcap;
  int64_t window;
  bool window_in_prefix;
  int multiprocessors = 0;  // that the rows of a prefill should fill; 0: all

  AttentionCall(Tensor out_, Tensor q_, const std::byte* pages_, const KvShape& shape,
                const StepTable& table_, const AttentionArgs& args)
      : out(out_, shape.head_dim),
        q(q_, shape.head_dim),
        pages(pages_),
        layout(shape),
        table(table_.view()),
        heads(static_cast<int>(args.heads)),
        group(static_cast<int>(args.group)),
        head_offset(static_cast<int>(args.head_offset)),
        scale(args.scale),
        softcap(args.softcap),
        window(args.window),
        window_in_prefix(args.window_in_prefix) {}

  constexpr int first_kv_head() const { return head_offset / group; }
  constexpr int kv_heads() const { return (heads - 1 + head_offset) / group - first_kv_head() + 1; }
  constexpr HeadRange heads_of(int kv_head) const {
    const int first = kv_head * group - head_offset, end = first + group;
    const int from = first > 0 ? first : 0;
    return {from, (end < heads ? end : heads) - from};
  }
  /// The largest number of query heads of a KV head.
  constexpr int max_heads() const { return group < heads ? group : heads; }

  constexpr KeyRange keys_of(const StepSpan& span, int row) const {
    return visible_keys(span.position + row, span.prefix, window, window_in_prefix);
  }
  constexpr const std::byte* keys(const StepSpan& span, int page, int kv_head) const {
    return layout.keys(pages, table.pages[span.first_page + page], kv_head);
  }
};

/// What the kernels on tensor cores can do; attend_plain() does everything.
constexpr int64_t kMaxGroup = 16;  // of a decode
constexpr float kMaxSoftcap = 60;  // see softmax_weights.cuh

/// Rows of all spans in float32: any cache, any head_dim up to 256, any group.
void attend_plain(Stream stream, const AttentionCall& call, DType cache, const StepTable& table);

/// Rows of the spans of several rows; a bfloat16 cache.
void attend_prefill(Stream stream, const AttentionCall& call, const StepTable& table);

/// The same on the tensor cores' instructions of sm_90a: for devices of compute capability 9.0 alone, and
/// heads of more than kMaxNarrowHead elements. Other roundings, as exact.
void attend_prefill_by_warpgroups(Stream stream, const AttentionCall& call, const StepTable& table);
constexpr int kMaxNarrowHead = 64;

/// The rows of the spans of one row; a bfloat16 cache.
void attend_decode(Stream stream, const AttentionCall& call, AttentionScratch& scratch,
                   const StepTable& table);

}  // namespace lapidary::cuda
