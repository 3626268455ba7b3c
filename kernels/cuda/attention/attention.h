#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/attention/kv_pages.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda/runtime/step_table.h"
#include "kernels/cuda_options.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// Device memory for what the blocks that share a row's keys hand to each other. One stream uses it at a
/// time.
class AttentionScratch {
 public:
  /// Room for decodes of up to max_decode_spans sequences of up to max_tokens, with max_heads query heads of
  /// up to max_head_dim.
  AttentionScratch(int64_t max_decode_spans, int64_t max_heads, int64_t max_head_dim, int64_t max_tokens);

  size_t bytes() const { return bytes_; }
  bool fits(int64_t splits, int64_t heads, int64_t head_dim) const {
    return splits <= max_splits_ && heads <= max_heads_ && head_dim <= max_head_dim_;
  }

  /// [splits, heads] pairs (largest exponent, sum of the weights).
  float* states() const { return reinterpret_cast<float*>(memory_.get()); }
  /// [splits, heads, head_dim rounded up to 8] weighted sums of the values.
  float* sums() const { return states() + 2 * max_splits_ * max_heads_; }
  /// [splits, heads] counts of blocks that have ended, zeros between calls.
  uint32_t* tickets() const {
    return reinterpret_cast<uint32_t*>(sums() + max_splits_ * max_heads_ * max_head_dim_);
  }

 private:
  int64_t max_splits_, max_heads_, max_head_dim_;
  size_t bytes_;
  Buffer memory_;
};

/// The kernels for rows of a prefill: products of a warp by mma.sync, or of a warpgroup on sm_90a. They round
/// in other slots, and are as exact.
enum class PrefillKernel { warps, warpgroups };

/// Backend::attention on the device; q and out are float32 or bfloat16. Over a bfloat16 cache q and the
/// weights of the softmax are rounded to bfloat16 before their products, all sums are float32. A row depends
/// on its own span alone, bit by bit; the one row of a span is computed by other means than the rows of a
/// longer one. A row's keys and values must be finite (a weight of 0 times inf is a NaN). `multiprocessors`:
/// how many the rows of a prefill should fill; 0: all.
void attention(Stream stream, AttentionScratch& scratch, Tensor out, Tensor q, const std::byte* pages,
               const KvShape& shape, const StepTable& table, const AttentionArgs& args,
               PrefillKernel prefill = PrefillKernel::warps, int multiprocessors = 0);

}  // namespace lapidary::cuda
