#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/cuda/attention/kv_pages.h"
#include "kernels/cuda/attention/rope_and_store.h"
#include "kernels/cuda/matmul/matmul_kernels.h"
#include "kernels/cuda/peer/peer_sum.h"
#include "kernels/cuda/rows/add_blocks.h"
#include "kernels/cuda/rows/add_norms.h"
#include "kernels/cuda/rows/norms.h"
#include "kernels/cuda/rows/patches.h"
#include "kernels/cuda/rows/rope.h"
#include "kernels/cuda/rows/row_ops.h"
#include "kernels/cuda/runtime/require.h"

// The operations on rows: each checks what it is given and is a function of its own file.

namespace lapidary::cuda {

void CudaBackend::matmul(Tensor y, Tensor x, const Matrix& w, const Epilogue& end) {
  cuda::matmul(stream(), matmul_, y, x, w, end);
}

void CudaBackend::matmul_geglu(Tensor y, Tensor x, const Matrix& gate_up, Tensor scratch) {
  cuda::matmul(stream(), matmul_, y, x, gate_up, {}, &scratch);
}

int64_t CudaBackend::gate_up_interleave() const { return kGateRun; }

void CudaBackend::tune(int64_t max_rows, const std::function<void(int64_t rows)>& products) {
  if (blas_ == nullptr || native_stream() == nullptr) return;
  matmul_.tune(true);
  for (int64_t rows = kSkinnyRows + 1; rows <= max_rows; rows = row_bucket(rows) + 1)
    products(std::min(row_bucket(rows), max_rows));
  matmul_.tune(false);
  blas_->save();
}

void CudaBackend::rms_norm(Tensor y, Tensor x, const float* gain, float eps) {
  cuda::rms_norm(stream(), y, x, gain, eps);
}

void CudaBackend::layer_norm(Tensor y, Tensor x, const float* gain, const float* bias, float eps) {
  cuda::layer_norm(stream(), y, x, gain, bias, eps);
}

void CudaBackend::add(Tensor x, Tensor y) { cuda::add(stream(), x, y); }

void CudaBackend::add_rms_norm(const AddNorm& to) { cuda::add_rms_norm(stream(), to); }

void CudaBackend::add_blocks(Tensor y, Tensor blocks, std::span<const int> merges) {
  cuda::add_blocks(stream(), y, blocks, merges);
}

size_t CudaBackend::peer_window_bytes(int ranks) const {
  return ranks > 1 && ranks <= kMaxPeers ? cuda::peer_window_bytes(ranks) : 0;
}

std::unique_ptr<PeerAllReduce> CudaBackend::make_peer_all_reduce(void* window, int rank, int ranks) {
  const std::vector<std::byte*> windows = reach_window(stream(), window, ranks);
  if (windows.empty()) return nullptr;
  return cuda::make_peer_all_reduce([this] { return stream(); }, rank, windows);
}

void CudaBackend::add_bias(Tensor x, const float* bias) { cuda::add_bias(stream(), x, bias); }

void CudaBackend::scale(Tensor x, float factor) { cuda::scale(stream(), x, factor); }

void CudaBackend::gelu(Tensor x) { cuda::gelu(stream(), x); }

void CudaBackend::gelu_mul(Tensor y, Tensor gate_up) { cuda::gelu_mul(stream(), y, gate_up); }

const int32_t* CudaBackend::rotary_positions(const char* operation, Tensor x, Tensor cos_sin,
                                             std::span<const int32_t> positions) {
  require(static_cast<int64_t>(positions.size()) == x.rows(), operation, "one position a row is wanted");
  for (const int32_t p : positions)
    require(p >= 0 && p < cos_sin.rows(), operation, "a position lies outside the table");
  const int32_t* prepared = inputs_->positions(positions);
  return prepared != nullptr ? prepared : upload(positions);
}

void CudaBackend::rope(Tensor x, int64_t head_dim, Tensor cos_sin, std::span<const int32_t> positions) {
  const int32_t* slots = rotary_positions("rope", x, cos_sin, positions);
  cuda::rope(stream(), x, head_dim, cos_sin, slots);
}

size_t CudaBackend::kv_page_bytes(const KvShape& shape) const { return page_bytes(shape); }

void CudaBackend::store_kv(std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans,
                           Tensor k, Tensor v) {
  cuda::store_kv(stream(), pages, shape, table_of(spans), k, v);
}

void CudaBackend::rope_and_store(Tensor qkv, int64_t heads, Tensor cos_sin,
                                 std::span<const int32_t> positions, std::byte* pages, const KvShape& shape,
                                 std::span<const AttentionSpan> spans) {
  const int32_t* slots = rotary_positions("rope_and_store", qkv, cos_sin, positions);
  cuda::rope_and_store(stream(), qkv, heads, cos_sin, slots, pages, shape, table_of(spans));
}

void CudaBackend::attention(Tensor out, Tensor q, const std::byte* pages, const KvShape& shape,
                            std::span<const AttentionSpan> spans, const AttentionArgs& args) {
  cuda::attention(stream(), *attention_, out, q, pages, shape, table_of(spans), args,
                  prefill_.of(shape.head_dim), filled_);
}

size_t CudaBackend::reserve_images(size_t bytes) {
  images_.reserve(stream(), bytes);
  return images_.bytes();
}

void CudaBackend::patchify(Tensor y, const uint8_t* rgb, int64_t size, int64_t patch, const float* value_of) {
  require(patch > 0 && size >= patch, "patchify", "the image must hold a patch");
  require(y.rows() == size / patch * (size / patch), "patchify",
          "y must be [patches, channels * patch * patch]");
  refuse_recording("patchify");
  const Stream here = stream();
  const auto bytes = static_cast<size_t>(size * size * kChannels);
  const uint8_t* pixels = images_.upload(here, rgb, bytes);
  cuda::patchify(here, y, pixels, size, patch, staging_.upload(std::span(value_of, 256)));
  images_.release(here);
}

void CudaBackend::embed(Tensor y, const Matrix& table, std::span<const int32_t> ids, Tensor token_table,
                        int64_t first_id, float factor) {
  require(static_cast<int64_t>(ids.size()) == y.rows(), "embed", "y must be [ids, columns of the table]");
  Tensor rows = view(table.data.get(), table.dtype, table.out, table.in);
  rows.stride = row_bytes(table) / static_cast<int64_t>(size_of(table.dtype));
  const int32_t* prepared = inputs_->ids(ids);
  cuda::embed(stream(), y, rows, prepared != nullptr ? prepared : upload(ids), token_table, first_id, factor);
}

void CudaBackend::softcap(Tensor x, float cap) { cuda::softcap(stream(), x, cap); }

void CudaBackend::add_gumbel_noise(Tensor logits, int64_t first_token,
                                   std::span<const SamplingParams> sampling) {
  refuse_recording("add_gumbel_noise");
  cuda::add_gumbel_noise(stream(), staging_, logits, first_token, sampling);
}

std::vector<std::vector<Candidate>> CudaBackend::top_k(Tensor logits, int64_t first_token, int k) {
  refuse_recording("top_k");
  return cuda::top_k(stream(), top_k_, logits, first_token, k, info_.multiprocessors);
}

void CudaBackend::top_candidates(Tensor found, Tensor logits, int64_t first_token, float cap,
                                 std::span<const SamplingParams> sampling) {
  require(
      std::ssize(sampling) == logits.rows() && longest_list("top_candidates", sampling) <= found.cols() / 2,
      "top_candidates", "one SamplingParams a row of logits, and lists of their length");
  cuda::top_candidates(stream(), top_k_, found, logits, first_token, cap, sampling_of(sampling));
}

void CudaBackend::sample(Tensor tokens, Tensor found, std::span<const SamplingParams> sampling) {
  require(std::ssize(sampling) == tokens.rows() && longest_list("sample", sampling) <= found.cols() / 2,
          "sample", "one SamplingParams a row of tokens, and lists of their length");
  cuda::sample(stream(), tokens, found, sampling_of(sampling));
}

const SamplingParams* CudaBackend::sampling_of(std::span<const SamplingParams> sampling) {
  const SamplingParams* prepared = inputs_->sampling(sampling);
  return prepared != nullptr ? prepared : upload(sampling);
}

void CudaBackend::scatter(Tensor token_table, std::span<const int32_t> slots, Tensor tokens) {
  require(std::ssize(slots) == tokens.rows(), "scatter", "one slot a token");
  for (const int32_t slot : slots)
    require(slot >= 0 && slot < token_table.rows(), "scatter", "a slot lies outside the token table");
  const int32_t* prepared = inputs_->slots(slots);
  cuda::scatter(stream(), token_table, prepared != nullptr ? prepared : upload(slots), tokens);
}

}  // namespace lapidary::cuda
