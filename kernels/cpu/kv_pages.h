#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/backend.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/tensor.h"
#include "kernels/thread_pool.h"

namespace lapidary::cpu {

/// Where things lie in a page of keys and values; sizes in elements. A page holds, one KV head after another,
///   keys:   4 panels (isa.h) of 16 keys, inner dimension head_dim, padded with zeros to Isa::k_step if bf16;
///   values: ceil(head_dim / 16) panels of 16 dimensions, inner dimension the page's 64 tokens;
/// so that q · kᵀ and p · v are both products of the tile kernel.
struct PageLayout {
  PageLayout(const Isa& isa, const KvShape& shape);

  std::byte* head(std::byte* pages, int64_t page, int64_t kv_head) const {
    return pages + static_cast<size_t>(page) * page_bytes + static_cast<size_t>(kv_head) * head_bytes;
  }
  const std::byte* head(const std::byte* pages, int64_t page, int64_t kv_head) const {
    return head(const_cast<std::byte*>(pages), page, kv_head);
  }

  int64_t head_dim;
  int64_t inner;  // of the keys' panels
  int64_t value_panels;
  int64_t key_size;  // of one head; its values follow
  size_t head_bytes;
  size_t page_bytes;
};

size_t kv_page_bytes(const Isa& isa, const KvShape& shape);

/// Backend::store_kv. The write of a page's first token clears the values behind the new ones, so that what
/// an earlier sequence left there never meets a weight of 0.
void store_kv(ThreadPool& threads, const Isa& isa, std::byte* pages, const KvShape& shape,
              std::span<const AttentionSpan> spans, Tensor k, Tensor v);

/// Throws std::logic_error unless the span's rows lie in a tensor of `rows` rows and its tokens in its pages.
void check_span(const AttentionSpan& span, int64_t rows);

}  // namespace lapidary::cpu
