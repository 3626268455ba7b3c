#pragma once

#include <cstdint>
#include <vector>

#include "configs/wire/wire.pb.h"
#include "kernels/backend.h"

namespace lapidary {

/// What a worker knows of the sequence at one slot.
struct Sequence {
  std::vector<int32_t> pages;
  int64_t prefix = 0;       // image and prompt tokens
  int64_t length = 0;       // tokens whose keys and values are in the pages, the step under way included
  SamplingParams sampling;  // its position is not used
  bool decodes = false;     // its prefix has run through all layers
};

using Sequences = std::vector<Sequence>;  // by slot

/// Prefills that run group of layers by group of layers.
struct HeldPrefills {
  std::vector<int32_t> slots;
  int64_t next_layer = 0;
};

/// The sequence that a prefill begins; each of its image ids stands for `image_tokens` tokens.
Sequence begin_sequence(const wire::Prefill& prefill, int64_t image_tokens);

/// Tokens of a prefill's prefix.
int64_t prefix_of(const wire::Prefill& prefill, int64_t image_tokens);

}  // namespace lapidary
