#include "kernels/cuda/attention/attention.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "kernels/cuda/attention/attention_call.h"

namespace lapidary::cuda {
namespace {

bool is_activation(Tensor x) { return x.dtype == DType::f32 || x.dtype == DType::bf16; }

void check(Tensor out, Tensor q, const KvShape& shape, const StepTable& table, const AttentionArgs& args) {
  const bool heads = args.heads > 0 && args.group > 0 && args.head_offset >= 0 &&
                     (args.heads - 1 + args.head_offset) / args.group < shape.kv_heads;
  if (!heads) throw std::logic_error("attention: a query head's KV head lies outside the cache");
  if (!(args.scale > 0) || !(args.softcap >= 0) || args.window < 0)
    throw std::logic_error("attention: scale must be above 0, softcap and window 0 or more");
  if (!is_activation(q) || !is_activation(out) || q.shape != out.shape ||
      q.cols() != args.heads * shape.head_dim)
    throw std::logic_error("attention: q and out must be float32 or bfloat16 [rows, heads * head_dim]");
  if (q.rows() > std::numeric_limits<int32_t>::max() / args.heads)
    throw std::logic_error("attention: rows times heads must be below 2^31");
  if (table.end_row() > q.rows()) throw std::logic_error("a span's rows lie outside the tensor");
}

}  // namespace

AttentionScratch::AttentionScratch(int64_t max_decode_spans, int64_t max_heads, int64_t max_head_dim,
                                   int64_t max_tokens)
    : max_splits_(max_decode_spans * StepTable::max_splits(max_tokens)),
      max_heads_(max_heads),
      max_head_dim_((max_head_dim + 7) / 8 * 8) {
  if (max_decode_spans < 0 || max_heads <= 0 || max_head_dim <= 0 || max_tokens < 0)
    throw std::logic_error(
        "AttentionScratch: spans and tokens must be 0 or more, heads and head_dim above 0");
  bytes_ = static_cast<size_t>(max_splits_ * max_heads_ * (max_head_dim_ + 3)) * sizeof(float);
  memory_ = allocate(std::max<size_t>(bytes_, 16));
}

void attention(Stream stream, AttentionScratch& scratch, Tensor out, Tensor q, const std::byte* pages,
               const KvShape& shape, const StepTable& table, const AttentionArgs& args, PrefillKernel prefill,
               int multiprocessors) {
  check(out, q, shape, table, args);
  AttentionCall call(out, q, pages, shape, table, args);
  call.multiprocessors = multiprocessors;
  if (shape.dtype == DType::f32 || args.group > kMaxGroup || args.softcap > kMaxSoftcap)
    return attend_plain(stream, call, shape.dtype, table);
  if (prefill == PrefillKernel::warpgroups)
    attend_prefill_by_warpgroups(stream, call, table);
  else
    attend_prefill(stream, call, table);
  attend_decode(stream, call, scratch, table);
}

}  // namespace lapidary::cuda
