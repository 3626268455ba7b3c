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

/// Backend::perturb. logits [rows, tokens] float32 in device memory. The noise is that of
/// kernels/cpu/sampling.h: the same bits as on processors with a fused multiply-add.
void perturb(Stream stream, Staging& staging, Tensor logits, int64_t first_token,
             std::span<const Backend::Draw> draws);

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

/// Most candidates of a row. std::logic_error for a draw that is not listed (Backend::is_listed).
int64_t longest_list(const char* operation, std::span<const TokenDraw> draws);

/// Backend::best, choose and scatter; draws and places are in device memory, one a row, and have been
/// checked.
void best(Stream stream, TopKScratch& scratch, Tensor found, Tensor logits, int64_t first_token, float cap,
          const TokenDraw* draws);
void choose(Stream stream, Tensor tokens, Tensor found, const TokenDraw* draws);
void scatter(Stream stream, Tensor board, const int32_t* places, Tensor tokens);

}  // namespace lapidary::cuda
