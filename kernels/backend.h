#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/add_norm.h"
#include "kernels/attention_types.h"
#include "kernels/device_stream.h"
#include "kernels/memory_planning.h"
#include "kernels/peer_all_reduce.h"
#include "kernels/sampling_types.h"
#include "kernels/step_graphs.h"
#include "kernels/sum_plan.h"
#include "kernels/tensor.h"
#include "kernels/thread_pool.h"
#include "kernels/weight_loader.h"

namespace lapidary {

/// A weight [out, in], in the layout its backend's matmul wants. Owns its memory.
struct Matrix {
  int64_t out = 0;
  int64_t in = 0;
  DType dtype = DType::f32;  // f32 or bf16; e4m3 where the backend says so
  SumPlan sums;
  Buffer data;
  size_t bytes = 0;  // of data
  Buffer scales{};   // e4m3: float32 [out], what the numbers of a row are multiplied by: e4m3_scale()
};

/// What becomes of a product's sums on their way to y [rows, out], in this order. Goes with one output.
struct Epilogue {
  const float* bias = nullptr;  // [out], is added
  bool gelu = false;            // gelu, tanh form
  bool add = false;             // to what y holds; y is float32 then, and there is no gelu
};

/// What one device can do. Operations run in the order they are called; a row of a result depends on nothing
/// but that row of the inputs (and its sequence's keys), bit by bit. Activations are float32 [rows, …]; a
/// bf16 Matrix rounds the rows of x to bf16 and sums in float32. Shapes are checked on entry
/// (std::logic_error).
class Backend : public DeviceStream, public StepGraphs, public MemoryPlanning, public PeerWindows {
 public:
  virtual std::string name() const = 0;           // "cpu avx512-bf16"
  virtual ThreadPool& threads() = 0;              // host threads of this rank
  virtual Buffer allocate(size_t bytes) = 0;      // zeroed, aligned for the kernels
  virtual void copy(Tensor dst, Tensor src) = 0;  // same shape and dtype
  /// Dtype of the activations that are operands of products with weights of `weights`. The residual stream,
  /// sums over ranks and logits are float32 everywhere.
  virtual DType operands(DType weights) const {
    (void)weights;
    return DType::f32;
  }
  // --- weights
  virtual Matrix make_matrix(int64_t out, int64_t in, DType dtype, SumPlan sums) = 0;
  /// rows [n, in] of f32 or bf16 become rows first_row… of w. first_row and n are multiples of kPackRows (n
  /// may end at w.out). Several threads may pack disjoint rows of one matrix.
  static constexpr int64_t kPackRows = 16;
  /// `largest` [n], for an e4m3 w: the largest magnitude of each row where `rows` are only columns of it;
  /// null: what `rows` say.
  virtual void pack(Matrix& w, int64_t first_row, Tensor rows, const float* largest = nullptr) = 0;
  /// Bytes that an element of a weight takes.
  virtual size_t weight_size(DType dtype) const { return size_of(dtype); }
  /// Row r of w as it was packed (rounded to w.dtype), as f32 [1, in]; for tests and embeddings.
  virtual void unpack_row(const Matrix& w, int64_t r, float* out) = 0;
  /// The way for many weights into memory that is not the host's; null where pack() is the way. The backend
  /// outlives it.
  virtual std::unique_ptr<WeightLoader> make_loader() { return nullptr; }

  /// Scratch for operations on up to `rows` rows of up to `width` columns; grown here and never inside an
  /// operation. Returns the bytes held.
  virtual size_t reserve(int64_t rows, int64_t width) = 0;

  // --- rows
  /// y [w.sums.outputs() * rows, out] = x [rows, in] · wᵀ, through the epilogue.
  virtual void matmul(Tensor y, Tensor x, const Matrix& w, const Epilogue& end = {}) = 0;
  /// Calls products(rows) for each number of rows, up to `max_rows`, of which the backend measures what
  /// computes products fastest: those that are called meanwhile. For the time before serving.
  virtual void tune(int64_t max_rows, const std::function<void(int64_t rows)>& products) {
    (void)max_rows;
    (void)products;
  }
  /// How the two halves of a gated weight lie: gate_up_interleave() rows of gate, then as many of up, and so
  /// on, zeros behind the last ones. 0: all of gate, then all of up.
  virtual int64_t gate_up_interleave() const { return 0; }
  /// Rows of a step for which memory between a layer's two wide products is kept; more go in several runs.
  /// Enough to fill the matrix kernels, while a 4096-row prefix of a 28B model needs gigabytes in float32.
  virtual int64_t mlp_chunk_rows() const { return 512; }
  /// y [rows, n] = gelu(x · gateᵀ) · (x · upᵀ); gate_up, of one output, lies as gate_up_interleave() says.
  /// `scratch` [rows, gate_up.out], of the operands' dtype, may be overwritten.
  virtual void matmul_geglu(Tensor y, Tensor x, const Matrix& gate_up, Tensor scratch) {
    matmul(scratch, x, gate_up);
    gelu_mul(y, scratch);
  }
  /// y = x · rsqrt(mean(x²) + eps) · (1 + gain)
  virtual void rms_norm(Tensor y, Tensor x, const float* gain, float eps) = 0;
  /// y = (x - mean) · rsqrt(var + eps) · gain + bias
  virtual void layer_norm(Tensor y, Tensor x, const float* gain, const float* bias, float eps) = 0;
  virtual void add(Tensor x, Tensor y) = 0;  // x += y
  /// What AddNorm says, in one pass where a backend can.
  virtual void add_rms_norm(const AddNorm& to);
  /// y [rows, n] = blocks [merges.size() * rows, n] (contiguous) added by SumPlan's stack machine, which
  /// leaves one sum. For communicators that gather blocks in device memory; elsewhere a std::logic_error.
  virtual void add_blocks(Tensor y, Tensor blocks, std::span<const int> merges);
  virtual void add_bias(Tensor x, const float* bias) = 0;  // x[r] += bias
  virtual void scale(Tensor x, float factor) = 0;
  virtual void gelu(Tensor x) = 0;                      // tanh form, in place
  virtual void gelu_mul(Tensor y, Tensor gate_up) = 0;  // y [rows, n] = gelu(gate_up[:, :n]) * gate_up[:, n:]
  /// Rotates pairs (j, j + head_dim/2) of each head of x [rows, heads * head_dim], in place. cos_sin
  /// [positions, head_dim]: head_dim/2 cosines, then as many sines; positions[r] picks row r's.
  virtual void rope(Tensor x, int64_t head_dim, Tensor cos_sin, std::span<const int32_t> positions) = 0;

  // --- attention
  virtual size_t kv_page_bytes(const KvShape& shape) const = 0;
  /// Scratch for store_kv and attention, as reserve() does for the other operations. A backend may need none.
  virtual size_t reserve_attention(const AttentionLimits&) { return 0; }
  /// Writes k, v [rows, kv_heads * head_dim] of the spans' new rows to their pages. `pages` is the base of
  /// one layer's pages.
  virtual void store_kv(std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans,
                        Tensor k, Tensor v) = 0;
  /// rope() and store_kv() of qkv [rows, (heads + 2 * kv_heads) * head_dim], each row a row of a span: q is
  /// rotated in place, k is rotated on its way to its page, v goes there as it is. What is left of k in qkv
  /// is unspecified.
  virtual void rope_and_store(Tensor qkv, int64_t heads, Tensor cos_sin, std::span<const int32_t> positions,
                              std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans);
  /// out, q [rows, heads * head_dim]; softmax in float32.
  virtual void attention(Tensor out, Tensor q, const std::byte* pages, const KvShape& shape,
                         std::span<const AttentionSpan> spans, const AttentionArgs& args) = 0;

  // --- ends of the model
  /// Memory in which pictures of up to `bytes` wait for patchify(); returns the bytes held.
  virtual size_t reserve_images(size_t) { return 0; }
  /// y [patches, channels * patch * patch] from an RGB8 image [size * size * 3]: value_of maps a byte to the
  /// normalised pixel; columns are (channel, ky, kx), rows are whole patches, in reading order.
  virtual void patchify(Tensor y, const uint8_t* rgb, int64_t size, int64_t patch, const float* value_of) = 0;
  /// y[r] = row (ids[r] - first_id) of table times factor, or zeros where this rank does not hold it. An id
  /// below 0 is token_slot_id(slot): the token at that row of `token_table` [slots, 1], int32, where
  /// sampling put it.
  virtual void embed(Tensor y, const Matrix& table, std::span<const int32_t> ids, Tensor token_table,
                     int64_t first_id, float factor) = 0;
  static constexpr int32_t token_slot_id(int32_t slot) { return -1 - slot; }
  virtual void softcap(Tensor x, float cap) = 0;  // x = cap * tanh(x / cap)
  /// Gumbel-max: logits[r] = logits[r] / temperature + noise(seed, position, token), the noise a pure
  /// function of the three, so that any rank draws the same for a token it holds. Temperature 0 and
  /// restricted draws leave a row as it is.
  virtual void add_gumbel_noise(Tensor logits, int64_t first_token,
                                std::span<const SamplingParams> sampling) = 0;
  /// The k largest of each row of logits [rows, tokens], largest first, ties by lower token.
  virtual std::vector<std::vector<Candidate>> top_k(Tensor logits, int64_t first_token, int k) = 0;
  /// Longest list of candidates that top_candidates() makes and sample() draws from.
  static constexpr int32_t kMaxCandidates = 256;
  /// Whether sample() can draw so; a restricted draw from more candidates is for the host (top_k).
  static constexpr bool samples_on_device(const SamplingParams& draw) {
    return !draw.restricted() || (draw.top_k > 0 && draw.top_k <= kMaxCandidates);
  }
  /// found [rows, width] Candidates, as int32 [rows, 2 * width]: each row's best, after a soft-cap (cap 0:
  /// none) and add_gumbel_noise(): top_k of them for a restricted draw, else one; kNoCandidate behind them.
  /// Draws are listed, and width is enough for them. The logits may be changed on the way.
  virtual void top_candidates(Tensor found, Tensor logits, int64_t first_token, float cap,
                              std::span<const SamplingParams> sampling) = 0;
  /// tokens [rows, 1], int32, drawn from found [ranks * rows, 2 * width]: what top_candidates() gave on each
  /// rank, gathered in rank order.
  virtual void sample(Tensor tokens, Tensor found, std::span<const SamplingParams> sampling) = 0;
  /// token_table [slots, 1] at slots[r] = tokens [rows, 1] at r; int32.
  virtual void scatter(Tensor token_table, std::span<const int32_t> slots, Tensor tokens) = 0;
};

/// `threads` stays alive as long as the backend. isa: "auto", "amx", "avx512-bf16", "avx512", "avx2",
/// "portable"; one this machine can't run is refused with a sentence.
std::unique_ptr<Backend> make_cpu_backend(ThreadPool& threads, const std::string& isa = "auto");

}  // namespace lapidary
