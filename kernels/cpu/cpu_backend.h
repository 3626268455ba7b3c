#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/matmul.h"

namespace lapidary::cpu {

/// The Backend of the processor this runs on: a thread pool, an instruction set and scratch memory; each
/// operation is a function of its own file.
class CpuBackend final : public Backend {
 public:
  CpuBackend(ThreadPool& threads, const Isa& isa);

  std::string name() const override;
  ThreadPool& threads() override { return threads_; }
  Buffer allocate(size_t bytes) override;
  void copy(Tensor dst, Tensor src) override;
  void synchronize() override {}  // nothing is ever under way

  Matrix make_matrix(int64_t out, int64_t in, DType dtype, SumPlan sums) override;
  void pack(Matrix& w, int64_t first_row, Tensor rows, const float* largest) override;
  size_t weight_size(DType dtype) const override;
  void unpack_row(const Matrix& w, int64_t r, float* out) override;
  size_t reserve(int64_t rows, int64_t width) override;

  void matmul(Tensor y, Tensor x, const Matrix& w, const Epilogue& end) override;
  void rms_norm(Tensor y, Tensor x, const float* gain, float eps) override;
  void layer_norm(Tensor y, Tensor x, const float* gain, const float* bias, float eps) override;
  void add(Tensor x, Tensor y) override;
  void add_bias(Tensor x, const float* bias) override;
  void scale(Tensor x, float factor) override;
  void gelu(Tensor x) override;
  void gelu_mul(Tensor y, Tensor gate_up) override;
  void rope(Tensor x, int64_t head_dim, Tensor cos_sin, std::span<const int32_t> positions) override;

  size_t kv_page_bytes(const KvShape& shape) const override;
  void store_kv(std::byte* pages, const KvShape& shape, std::span<const AttentionSpan> spans, Tensor k,
                Tensor v) override;
  void attention(Tensor out, Tensor q, const std::byte* pages, const KvShape& shape,
                 std::span<const AttentionSpan> spans, const AttentionArgs& args) override;

  void patchify(Tensor y, const uint8_t* rgb, int64_t size, int64_t patch, const float* value_of) override;
  void embed(Tensor y, const Matrix& table, std::span<const int32_t> ids, Tensor token_table,
             int64_t first_id, float factor) override;
  void softcap(Tensor x, float cap) override;
  void add_gumbel_noise(Tensor logits, int64_t first_token,
                        std::span<const SamplingParams> sampling) override;
  std::vector<std::vector<Candidate>> top_k(Tensor logits, int64_t first_token, int k) override;
  void top_candidates(Tensor found, Tensor logits, int64_t first_token, float cap,
                      std::span<const SamplingParams> sampling) override;
  void sample(Tensor tokens, Tensor found, std::span<const SamplingParams> sampling) override;
  void scatter(Tensor token_table, std::span<const int32_t> slots, Tensor tokens) override;

 private:
  ThreadPool& threads_;
  const Isa& isa_;
  MatmulScratch matmul_;
  AttentionScratch attention_;
};

}  // namespace lapidary::cpu
