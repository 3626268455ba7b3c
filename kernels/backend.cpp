#include "kernels/backend.h"

#include <stdexcept>

namespace lapidary {

void Backend::add_blocks(Tensor, Tensor, std::span<const int>) {
  throw std::logic_error("blocks of host memory are added by the communicator");
}

void Backend::add_rms_norm(const AddNorm& to) {
  rms_norm(to.y, to.y, to.post, to.eps);
  add(to.x, to.y);
  if (to.pre != nullptr) rms_norm(to.h, to.x, to.pre, to.eps);
}

void Backend::rope_and_store(Tensor qkv, int64_t heads, Tensor cos_sin, std::span<const int32_t> positions,
                             std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans) {
  const int64_t q = heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  if (qkv.cols() != q + 2 * kv)
    throw std::logic_error("rope_and_store: rows are heads of q, then the KV heads of k and of v");
  rope(qkv.col_range(0, q + kv), shape.head_dim, cos_sin, positions);
  store_kv(pages, shape, spans, qkv.col_range(q, q + kv), qkv.col_range(q + kv, q + 2 * kv));
}

}  // namespace lapidary
