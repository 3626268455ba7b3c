#pragma once

#include <cstddef>

#include "configs/wire/wire.pb.h"

namespace lapidary {

using Capacity = wire::Capacity;

/// Bytes that a rank holds.
struct Memory {
  size_t weights = 0, kv = 0, embeddings = 0, workspace = 0;
  size_t total() const { return weights + kv + embeddings + workspace; }
};

}  // namespace lapidary
