#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/tensor.h"
#include "kernels/thread_pool.h"

namespace lapidary::cpu {

/// Backend::add_gumbel_noise. The noise is -log(-log(u)), u in (0, 1) from 32 bits of a SplitMix64 sequence:
/// the sequence starts at a mix of (seed, position) and the token is its index, so a token's noise needs no
/// other token's.
void add_gumbel_noise(ThreadPool& threads, const Isa& isa, Tensor logits, int64_t first_token,
                      std::span<const SamplingParams> sampling);

/// Backend::top_k. A NaN counts as -inf and is returned so; k larger than the row gives the whole row.
std::vector<std::vector<Candidate>> top_k(ThreadPool& threads, const Isa& isa, Tensor logits,
                                          int64_t first_token, int k);

/// Backend::top_candidates, sample and scatter.
void top_candidates(ThreadPool& threads, const Isa& isa, Tensor found, Tensor logits, int64_t first_token,
                    float cap, std::span<const SamplingParams> sampling);
void sample(Tensor tokens, Tensor found, std::span<const SamplingParams> sampling);
void scatter(Tensor token_table, std::span<const int32_t> slots, Tensor tokens);

}  // namespace lapidary::cpu
