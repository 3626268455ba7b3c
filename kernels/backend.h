#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "kernels/thread_pool.h"
#include "kernels/weight_loader.h"

namespace lapidary {

/// How the inner dimension of a product is added up. It is cut into leaves; each leaf is summed in float32
/// from left to right; then a stack machine adds the leaves: leaf j is pushed, and merges[j] times the two
/// topmost sums are replaced by (lower + upper). What is left on the stack, bottom first, are the product's
/// outputs. One leaf and no merge is the ordinary product. Fixed leaves and a fixed tree make a sum that does
/// not depend on how many ranks hold the leaves (sharding/plan/sum_tree.h).
struct SumPlan {
  std::vector<int64_t> cuts;  // leaves + 1 ascending positions: 0 … inner size
  std::vector<int> merges;    // one a leaf

  static SumPlan whole(int64_t inner) { return {{0, inner}, {0}}; }
  int leaves() const { return static_cast<int>(merges.size()); }
  int outputs() const {
    int sums = leaves();
    for (int m : merges) sums -= m;
    return sums;
  }
};

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

struct Candidate {
  int32_t token;
  float logit;
};
/// What stands where there are fewer candidates than slots: behind every other.
inline constexpr Candidate kNoCandidate{std::numeric_limits<int32_t>::max(),
                                        -std::numeric_limits<float>::infinity()};
/// Larger logits first, ties by lower token.
constexpr bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

/// How a row's next token is drawn: temperature, then top-k, then top-p, as transformers orders them.
struct SamplingParams {
  float temperature = 0;  // 0: greedy, the lowest token on a tie
  uint64_t seed = 0;
  int64_t position = 0;  // of the token to be drawn; with the seed it is all the randomness there is
  int32_t top_k = 0;     // 0: off
  float top_p = 1;       // 1: off

  /// Drawn from the best candidates in order; others are the largest (perturbed) logit.
  constexpr bool restricted() const { return temperature > 0 && (top_k > 0 || top_p < 1); }
  bool operator==(const SamplingParams&) const = default;
};

/// The arrays of the host that a step's operations will be given.
struct StepArrays {
  std::span<const AttentionSpan> spans{};
  std::span<const int32_t> positions{};        // of rope()
  std::span<const int32_t> ids{};              // of embed()
  std::span<const int32_t> slots{};            // of scatter()
  std::span<const SamplingParams> sampling{};  // of top_candidates() and sample()
  // Spans, and tokens of the longest of them, that a recording behind prepare() shall do for.
  int64_t max_spans = 0, max_tokens = 0;
};

/// A tensor on its way to the host. One thread at a time.
class Readback {
 public:
  virtual ~Readback() = default;
  /// Takes what `src`, contiguous, holds behind the operations called so far. One at a time is under way.
  virtual void start(Tensor src) = 0;
  /// Whether wait() would return at once.
  virtual bool ready() = 0;
  /// The bytes of src, valid until the next start().
  virtual std::span<const std::byte> wait() = 0;
};

/// What stands between two blocks of a residual stream: x += rms_norm(y, post), and h = rms_norm(x, pre)
/// where there is a `pre`. h, x and y are [rows, n], gains [n], stored less one. y is lost.
struct AddNorm {
  Tensor h;  // may be y; not touched without `pre`
  Tensor x;  // float32
  Tensor y;
  const float* post;
  const float* pre;  // null: the stream ends here
  float eps;
};

/// Sums of small rows over the ranks of a group whose devices reach each other's memory.
class PeerAllReduce {
 public:
  virtual ~PeerAllReduce() = default;
  /// Numbers of one sum.
  virtual int64_t max_elements() const = 0;
  /// y [rows, n] = the ranks' mine [rows, n], added in rank order by SumPlan's stack machine; work in the
  /// backend's stream that waits for the other ranks'. Called by all ranks with equal shapes.
  virtual void sum(Tensor y, Tensor mine, std::span<const int> merges) = 0;
  /// The same with Backend::add_rms_norm behind it, where to.y, float32 and contiguous, is the sum: equal
  /// bits, in one pass where the rows fit.
  virtual void all_reduce_add_norm(const AddNorm& to, Tensor mine, std::span<const int> merges) = 0;
  /// From any thread: sums under way and to come wait for nobody any more; what they give is nothing.
  virtual void abort() = 0;
};

/// A point in the work of a backend that does it later than it is told to. Null: all is done.
using DeviceEvent = std::shared_ptr<void>;

/// What one device can do. Operations run in the order they are called; a row of a result depends on nothing
/// but that row of the inputs (and its sequence's keys), bit by bit. Activations are float32 [rows, …]; a
/// bf16 Matrix rounds the rows of x to bf16 and sums in float32. Shapes are checked on entry
/// (std::logic_error).
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;           // "cpu avx512-bf16"
  virtual ThreadPool& threads() = 0;              // host threads of this rank
  virtual Buffer allocate(size_t bytes) = 0;      // zeroed, aligned for the kernels
  virtual void copy(Tensor dst, Tensor src) = 0;  // same shape and dtype
  virtual void synchronize() = 0;
  /// Behind all operations so far.
  virtual DeviceEvent record_event() { return nullptr; }
  /// Operations from here on begin after those before the mark, of this backend or another of its device.
  virtual void wait_event(const DeviceEvent&) {}
  /// Returns when the operations before a mark of this backend are done; throws where the device failed.
  virtual void synchronize_event(const DeviceEvent&) {}
  /// Whether tensors lie in host memory. Where they do not, the host reads and writes them by copy() alone,
  /// and matrices by pack() and unpack_row().
  virtual bool on_host() const { return true; }
  /// Dtype of the activations that are operands of products with weights of `weights`. The residual stream,
  /// sums over ranks and logits are float32 everywhere.
  virtual DType operands(DType weights) const {
    (void)weights;
    return DType::f32;
  }
  /// The queue that its operations run in, as the device's own libraries want it (cudaStream_t); for
  /// communicators that run in it too. Null: there is none.
  virtual void* native_stream() const { return nullptr; }
  /// From any thread, beside the operations: whether the work is done that had been given at the last call
  /// which returned true; for whoever watches over a lane that may itself wait for ever.
  virtual bool made_progress() { return true; }
  /// Bytes of its own memory that are free; where tensors lie in host memory that is the host's affair: 0.
  virtual size_t free_memory() const { return 0; }
  /// Until end_plan() nothing is allocated, packed, loaded or copied: what would be is only counted, so that
  /// parts of a model can be built to see what they need. Backends in host memory do as ever and count
  /// nothing.
  virtual void begin_plan() {}
  /// Bytes that allocate(), make_matrix() and the like would have taken.
  virtual size_t end_plan() { return 0; }

  // --- weights
  // -------------------------------------------------------------------------------------------------
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

  // --- steps
  // -------------------------------------------------------------------------------------------------
  /// Brings a step's arrays to the device, all at once and before its operations: those then need nothing of
  /// the host when they are given arrays of the same contents. Valid until the next prepare().
  virtual void prepare(const StepArrays&) {}
  /// Runs body(), which calls operations of this backend, and of communicators that are in_stream(), with
  /// prepared arrays. A backend may record the operations and later do the same ones without a call of the
  /// body; so a key stands for the same operations on the same tensors, while the prepared arrays' contents
  /// may differ. What needs the host (an array that was not prepared, allocate, synchronize, copies from and
  /// to its memory) is a std::logic_error while a body is recorded.
  virtual void replay(uint64_t key, const std::function<void()>& body) {
    static_cast<void>(key);
    body();
  }
  /// Gives back what was recorded; not while it is under way. To be called before a communicator ends that
  /// recordings are part of, for it would wait for their end.
  virtual void forget_recordings() {}
  /// Whether replay() records. Steps are then padded to few sizes, so that few recordings do for all.
  virtual bool records() const { return false; }
  /// How often replay() did without its body.
  virtual int64_t replays() const { return 0; }
  /// For tensors of up to `bytes`.
  virtual std::unique_ptr<Readback> make_readback(size_t bytes);

  /// Runs body(), whose operations come after all that were given before and go beside those that are given
  /// after it, up to wait_for() of what this returns. Bodies come after each other. A backend with one queue
  /// does as if there were no beside.
  virtual DeviceEvent on_side_stream(const std::function<void()>& body) {
    body();
    return nullptr;
  }
  /// From so many rows on a step gains by sums over ranks that go beside its products.
  virtual int64_t overlap_min_rows() const { return std::numeric_limits<int64_t>::max(); }

  // --- rows
  // ----------------------------------------------------------------------------------------------------
  /// y [w.sums.outputs() * rows, out] = x [rows, in] · wᵀ, through the epilogue.
  virtual void matmul(Tensor y, Tensor x, const Matrix& w, const Epilogue& end = {}) = 0;
  /// Calls products(rows) for each number of rows, up to `most`, of which the backend measures what computes
  /// products fastest: those that are called meanwhile. For the time before serving.
  virtual void tune(int64_t most, const std::function<void(int64_t rows)>& products) {
    (void)most;
    (void)products;
  }
  /// How the two halves of a gated weight lie: gate_up_interleave() rows of gate, then as many of up, and so
  /// on, zeros behind the last ones. 0: all of gate, then all of up.
  virtual int64_t gate_up_interleave() const { return 0; }
  /// Rows of a step for which memory between a layer's two wide products is kept; more go in several runs.
  /// Enough to fill the matrix kernels, while a 4096-row prefix of a 28B model needs gigabytes in float32.
  virtual int64_t mlp_chunk_rows() const { return 512; }
  /// y [rows, n] = gelu(x · gateᵀ) · (x · upᵀ); gate_up, of one output, lies as gate_up_interleave() says.
  /// `room` [rows, gate_up.out], of the operands' dtype, may be overwritten.
  virtual void matmul_geglu(Tensor y, Tensor x, const Matrix& gate_up, Tensor room) {
    matmul(room, x, gate_up);
    gelu_mul(y, room);
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
  /// Bytes of the windows of make_peer_all_reduce; 0: there is no such sum.
  virtual size_t peer_window_bytes(int ranks) const {
    (void)ranks;
    return 0;
  }
  /// `window`: NCCL's name (ncclWindow_t) for memory that every rank has given, zeroed, to a group of `ranks`
  /// whose devices reach each other's memory. Null where they cannot be reached from the program.
  virtual std::unique_ptr<PeerAllReduce> make_peer_all_reduce(void* window, int rank, int ranks) {
    (void)window, (void)rank, (void)ranks;
    return nullptr;
  }
  virtual void add_bias(Tensor x, const float* bias) = 0;  // x[r] += bias
  virtual void scale(Tensor x, float factor) = 0;
  virtual void gelu(Tensor x) = 0;                      // tanh form, in place
  virtual void gelu_mul(Tensor y, Tensor gate_up) = 0;  // y [rows, n] = gelu(gate_up[:, :n]) * gate_up[:, n:]
  /// Rotates pairs (j, j + head_dim/2) of each head of x [rows, heads * head_dim], in place. cos_sin
  /// [positions, head_dim]: head_dim/2 cosines, then as many sines; positions[r] picks row r's.
  virtual void rope(Tensor x, int64_t head_dim, Tensor cos_sin, std::span<const int32_t> positions) = 0;

  // --- attention
  // -----------------------------------------------------------------------------------------------
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
  // ---------------------------------------------------------------------------------------
  /// Memory in which pictures of up to `bytes` wait for patchify(); returns the bytes held.
  virtual size_t reserve_images(size_t) { return 0; }
  /// y [patches, channels * patch * patch] from an RGB8 image [size * size * 3]: value_of maps a byte to the
  /// normalised pixel; columns are (channel, ky, kx), rows are patches in reading order.
  virtual void patchify(Tensor y, const uint8_t* rgb, int64_t size, int64_t patch, const float* value_of) = 0;
  /// y[r] = row (ids[r] - first_id) of table times factor, or zeros where this rank does not hold it. An id
  /// below 0 is token_slot_id(place): the token at that row of `token_table` [slots, 1], int32, where
  /// sampling put it.
  virtual void embed(Tensor y, const Matrix& table, std::span<const int32_t> ids, Tensor token_table,
                     int64_t first_id, float factor) = 0;
  static constexpr int32_t token_slot_id(int32_t place) { return -1 - place; }
  virtual void softcap(Tensor x, float cap) = 0;  // x = cap * tanh(x / cap)
  using Draw = SamplingParams;
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
  static constexpr bool samples_on_device(const Draw& draw) {
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

/// The GPUs that this program and host have between them.
struct CudaDevices {
  int count = 0;
  std::string why_none;  // where count is 0, half a sentence: "this program was built without CUDA (…)"
};
CudaDevices cuda_devices();

/// What attends the rows of a prefill on the GPU: warps, or warpgroups where the GPU has their products; or
/// whichever was faster in a trial before serving.
enum class Prefill { warps, warpgroups, measured };

struct CudaOptions {
  int device = 0;
  bool deterministic =
      true;  // sums as SumPlan says; else their partials become one, in an order of the library's
  bool early_start =
      true;  // kernels may start before the one in front has ended; off: to measure what it gains
  std::filesystem::path cache = {};  // folder where tune() keeps what it measured; empty: nowhere
  int share = 100;                   // percent of its multiprocessors that products and prefills should fill
  bool high_priority = false;        // its work goes before that of other backends of the device
  int64_t overlap_min_rows = 1024;   // Backend::overlap_min_rows
  Prefill prefill = Prefill::warps;
};
/// Throws a sentence where the device cannot be used. `threads` stays alive as long as the backend.
std::unique_ptr<Backend> make_cuda_backend(ThreadPool& threads, const CudaOptions& options);

}  // namespace lapidary
