#pragma once

#include <cstddef>
#include <cstdint>

namespace lapidary {

/// Most that one process is asked to hold at once; what is allocated at start follows from it.
struct Capacity {
  int64_t images = 4;       // encoded at once
  int64_t slots = 16;       // of each vision lane: images whose embeddings wait for their prefill
  int64_t step_images = 8;  // of one step's prefills
  int64_t rows = 4160;      // new rows of one step
  int64_t sequences = 16;   // that run, and of one step
  int64_t length = 4352;    // tokens of one sequence, generated ones included
  int64_t pages = 1088;     // KV pages
};

/// Bytes that a rank holds.
struct Memory {
  size_t weights = 0, kv = 0, embeddings = 0, workspace = 0;
  size_t total() const { return weights + kv + embeddings + workspace; }
};

}  // namespace lapidary
