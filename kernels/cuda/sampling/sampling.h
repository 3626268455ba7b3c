#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/device.h"
#include "kernels/cuda/runtime/staging.h"
#include "kernels/tensor.h"

namespace lapidary::cuda {

/// Backend::add_gumbel_noise. logits [rows, tokens] float32 in device memory. The noise is that of
/// kernels/cpu/sampling.h: the same bits as on processors with a fused multiply-add.
void add_gumbel_noise(Stream stream, Staging& staging, Tensor logits, int64_t first_token,
                      std::span<const SamplingParams> sampling);

/// Memory of top_k(): candidates on the device, and pinned where they arrive.
class TopKScratch {
 public:
  TopKScratch();

  static constexpr size_t kCandidates = size_t{1} << 18;
  uint64_t* device() const { return reinterpret_cast<uint64_t*>(device_.get()); }
  uint64_t* pinned() const { return reinterpret_cast<uint64_t*>(pinned_.get()); }
  static constexpr size_t bytes() { return 2 * kCandidates * sizeof(uint64_t); }

 private:
  Buffer device_, pinned_;  // kCandidates each
};

/// Backend::top_k. logits [rows, tokens] float32 in device memory. A NaN counts as -inf and is returned so; k
/// larger than the row gives the whole row. Waits for the stream. multiprocessors: of the device; it decides
/// how rows are cut among blocks, and no result.
std::vector<std::vector<Candidate>> top_k(Stream stream, TopKScratch& scratch, Tensor logits,
                                          int64_t first_token, int k, int multiprocessors);

/// The largest number of candidates of a row. std::logic_error for a draw that is not listed
/// (Backend::samples_on_device).
int64_t longest_list(const char* operation, std::span<const SamplingParams> sampling);

/// Backend::top_candidates, sample and scatter; draws and slots are in device memory, one a row, and have
/// been checked.
void top_candidates(Stream stream, TopKScratch& scratch, Tensor found, Tensor logits, int64_t first_token,
                    float cap, const SamplingParams* sampling);
void sample(Stream stream, Tensor tokens, Tensor found, const SamplingParams* sampling);
void scatter(Stream stream, Tensor token_table, const int32_t* slots, Tensor tokens);

}  // namespace lapidary::cuda
