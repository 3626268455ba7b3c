#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/tensor.h"
#include "kernels/thread_pool.h"

namespace lapidary::cpu {

/// Memory of attention(): one piece a thread, and the list of work.
class AttentionScratch {
 public:
  AttentionScratch(const Isa& isa, int threads, int64_t max_head_dim = 256);

  /// Makes room for heads of this size; does nothing where there is room.
  void fit(int64_t head_dim);
  size_t bytes() const { return thread_bytes_ * memory_.size(); }

 private:
  friend class AttentionRun;
  struct Piece;
  /// Consecutive (row, head) pairs of one span that share a KV head.
  struct Item {
    int64_t span;
    int64_t kv_head;
    int64_t begin, end;
  };

  int block_rows_;
  int padded_rows_;
  int64_t max_head_dim_ = 0;
  size_t thread_bytes_ = 0;
  std::vector<Buffer> memory_;
  std::vector<Item> items_;
};

/// Backend::attention. The keys of a row are taken page by page in order, each page a block of the online
/// softmax, whatever rows are computed beside it: a row's result is the same bits in a prefill, in a decode,
/// on any number of threads. (For finite keys and values: a weight of 0 times inf is a NaN.) Work is spread
/// over spans, KV heads and blocks of rows; the keys of one row are never spread, as that would change the
/// order of its sums.
void attention(ThreadPool& threads, const Isa& isa, AttentionScratch& scratch, Tensor out, Tensor q,
               const std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans,
               const AttentionArgs& args);

}  // namespace lapidary::cpu
