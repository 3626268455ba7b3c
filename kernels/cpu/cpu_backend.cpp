#include "kernels/cpu/cpu_backend.h"

#include <utility>

#include "kernels/cpu/isa/detect.h"
#include "kernels/cpu/kv_pages.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/row_ops.h"
#include "kernels/cpu/sampling.h"

namespace lapidary {
namespace cpu {
namespace {
constexpr int64_t kMaxHeadDim = 256;
}

CpuBackend::CpuBackend(ThreadPool& threads, const Isa& isa)
    : threads_(threads),
      isa_(isa),
      matmul_(isa, threads.size()),
      attention_(isa, threads.size(), kMaxHeadDim) {}

std::string CpuBackend::name() const { return std::string("cpu ") + isa_.name; }

Buffer CpuBackend::allocate(size_t bytes) { return cpu::allocate(bytes); }

void CpuBackend::copy(Tensor dst, Tensor src) { cpu::copy(threads_, dst, src); }

Matrix CpuBackend::make_matrix(int64_t out, int64_t in, DType dtype, SumPlan sums) {
  return cpu::make_matrix(isa_, out, in, dtype, std::move(sums));
}

void CpuBackend::pack(Matrix& w, int64_t first_row, Tensor rows, const float* largest) {
  cpu::pack(isa_, w, first_row, rows, largest);
}

size_t CpuBackend::weight_size(DType dtype) const { return size_of(panel_dtype(dtype)); }

void CpuBackend::unpack_row(const Matrix& w, int64_t r, float* out) { cpu::unpack_row(isa_, w, r, out); }

size_t CpuBackend::reserve(int64_t rows, int64_t width) {
  matmul_.reserve(rows, width);
  return matmul_.bytes() + attention_.bytes();
}

void CpuBackend::matmul(Tensor y, Tensor x, const Matrix& w, const Epilogue& end) {
  cpu::matmul(threads_, isa_, matmul_, y, x, w, end);
  if (end.gelu) gelu(y);
}

void CpuBackend::rms_norm(Tensor y, Tensor x, const float* gain, float eps) {
  cpu::rms_norm(threads_, isa_, y, x, gain, eps);
}

void CpuBackend::layer_norm(Tensor y, Tensor x, const float* gain, const float* bias, float eps) {
  cpu::layer_norm(threads_, isa_, y, x, gain, bias, eps);
}

void CpuBackend::add(Tensor x, Tensor y) { cpu::add(threads_, isa_, x, y); }

void CpuBackend::add_bias(Tensor x, const float* bias) { cpu::add_bias(threads_, isa_, x, bias); }

void CpuBackend::scale(Tensor x, float factor) { cpu::scale(threads_, isa_, x, factor); }

void CpuBackend::gelu(Tensor x) { cpu::gelu(threads_, isa_, x); }

void CpuBackend::gelu_mul(Tensor y, Tensor gate_up) { cpu::gelu_mul(threads_, isa_, y, gate_up); }

void CpuBackend::rope(Tensor x, int64_t head_dim, Tensor cos_sin, std::span<const int32_t> positions) {
  cpu::rope(threads_, isa_, x, head_dim, cos_sin, positions);
}

size_t CpuBackend::kv_page_bytes(const KvShape& shape) const {
  return cpu::PageLayout(isa_, shape).page_bytes;
}

void CpuBackend::store_kv(std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans,
                          Tensor k, Tensor v) {
  cpu::store_kv(threads_, isa_, pages, shape, spans, k, v);
}

void CpuBackend::attention(Tensor out, Tensor q, const std::byte* pages, const KvShape& shape,
                           std::span<const AttentionSpan> spans, const AttentionArgs& args) {
  cpu::attention(threads_, isa_, attention_, out, q, pages, shape, spans, args);
}

void CpuBackend::patchify(Tensor y, const uint8_t* rgb, int64_t size, int64_t patch, const float* value_of) {
  cpu::patchify(threads_, y, rgb, size, patch, value_of);
}

void CpuBackend::embed(Tensor y, const Matrix& table, std::span<const int32_t> ids, Tensor token_table,
                       int64_t first_id, float factor) {
  cpu::embed(threads_, isa_, y, table, ids, token_table, first_id, factor);
}

void CpuBackend::softcap(Tensor x, float cap) { cpu::softcap(threads_, isa_, x, cap); }

void CpuBackend::add_gumbel_noise(Tensor logits, int64_t first_token,
                                  std::span<const SamplingParams> sampling) {
  cpu::add_gumbel_noise(threads_, isa_, logits, first_token, sampling);
}

std::vector<std::vector<Candidate>> CpuBackend::top_k(Tensor logits, int64_t first_token, int k) {
  return cpu::top_k(threads_, isa_, logits, first_token, k);
}

void CpuBackend::top_candidates(Tensor found, Tensor logits, int64_t first_token, float cap,
                                std::span<const SamplingParams> sampling) {
  cpu::top_candidates(threads_, isa_, found, logits, first_token, cap, sampling);
}

void CpuBackend::sample(Tensor tokens, Tensor found, std::span<const SamplingParams> sampling) {
  cpu::sample(tokens, found, sampling);
}

void CpuBackend::scatter(Tensor token_table, std::span<const int32_t> slots, Tensor tokens) {
  cpu::scatter(token_table, slots, tokens);
}

}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(ThreadPool& threads, const std::string& isa) {
  return std::make_unique<cpu::CpuBackend>(threads, cpu::choose_isa(isa));
}

}  // namespace lapidary
