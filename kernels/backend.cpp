#include "kernels/backend.h"

#include <cstring>
#include <stdexcept>

namespace lapidary {
namespace {

/// Of tensors in host memory, whose operations are done when they return.
class HostReadback final : public Readback {
 public:
  explicit HostReadback(size_t bytes) : room_(bytes) {}

  void start(Tensor src) override {
    const size_t bytes = static_cast<size_t>(src.rows() * src.cols()) * size_of(src.dtype);
    if (bytes > room_.size() || (src.rows() > 1 && src.stride != src.cols()))
      throw std::logic_error("a readback is of contiguous rows that fit");
    if (bytes > 0) std::memcpy(room_.data(), src.data, bytes);
    taken_ = bytes;
  }
  bool ready() override { return true; }
  std::span<const std::byte> wait() override { return {room_.data(), taken_}; }

 private:
  std::vector<std::byte> room_;
  size_t taken_ = 0;
};

}  // namespace

void Backend::add_blocks(Tensor, Tensor, std::span<const int>) {
  throw std::logic_error("blocks of host memory are added by the communicator");
}

std::unique_ptr<Readback> Backend::make_readback(size_t bytes) {
  return std::make_unique<HostReadback>(bytes);
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
