#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace lapidary {

/// Shape of one layer's KV cache on this rank. A page holds kPageTokens tokens of all kv_heads, in a layout
/// of the backend's own; keys are stored after RoPE.
struct KvShape {
  static constexpr int64_t kPageTokens = 64;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  DType dtype = DType::f32;
};

/// One sequence of a ragged batch: its new rows, and where its keys and values lie.
struct AttentionSpan {
  int64_t first_row = 0;           // of its new rows in q, k, v, out
  int64_t rows = 0;                // new rows: a whole prefix, or one token
  int64_t position = 0;            // index in the sequence of the first new row, from 0
  int64_t prefix = 0;              // the first `prefix` tokens all see each other
  std::span<const int32_t> pages;  // page p holds tokens [p * kPageTokens, …) of the sequence
};

struct AttentionArgs {
  int64_t heads = 0;        // query heads on this rank
  int64_t group = 1;        // query heads a KV head, over all ranks
  int64_t head_offset = 0;  // local query head h reads local KV head (h + head_offset) / group
  float scale = 1;
  float softcap = 0;              // scores become cap * tanh(score / cap) before the mask; 0: none
  int64_t window = 0;             // a row at index i sees keys > i - window only; 0: no window
  bool window_in_prefix = false;  // false: rows of the prefix see the whole prefix at any distance
};

/// The largest steps of attention: what a backend keeps memory for.
struct AttentionLimits {
  int64_t spans = 0, rows = 0;  // of a step
  int64_t pages = 0;            // of all its spans together
  int64_t heads = 0, head_dim = 0;
};

inline AttentionLimits larger(const AttentionLimits& a, const AttentionLimits& b) {
  return {std::max(a.spans, b.spans), std::max(a.rows, b.rows), std::max(a.pages, b.pages),
          std::max(a.heads, b.heads), std::max(a.head_dim, b.head_dim)};
}

/// Keys [begin, end) that the row at index `i` of a sequence sees. The mask is this and nothing else.
struct KeyRange {
  int64_t begin, end;
};
constexpr KeyRange visible_keys(int64_t i, int64_t prefix, int64_t window, bool window_in_prefix) {
  const bool in_prefix = i < prefix;
  const int64_t begin = window > 0 && (!in_prefix || window_in_prefix) && i + 1 > window ? i + 1 - window : 0;
  return {begin, in_prefix ? prefix : i + 1};
}

}  // namespace lapidary
