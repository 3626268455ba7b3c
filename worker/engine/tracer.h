#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "worker/engine/engine.h"

namespace lapidary {

/// Collects named tensors, the rows of later steps below those of earlier ones, and writes them to one
/// safetensors file. Names: design's list (`vision.layers.I`, `decoder.layers.I`, `logits`, …).
class Tracer {
 public:
  void add(const std::string& name, Tensor value);
  /// A tensor of any shape, whole.
  void add_floats(const std::string& name, std::vector<int64_t> shape, std::vector<float> values);
  void add_ints(const std::string& name, std::vector<int32_t> values);

  /// Throws a sentence where the file cannot be written.
  void write(const std::filesystem::path& path) const;

 private:
  struct Entry {
    std::vector<int64_t> shape;
    std::vector<float> floats;
    std::vector<int32_t> ints;
  };
  std::map<std::string, Entry> entries_;
};

/// What to trace: one sequence, alone.
struct TraceRequest {
  std::vector<int32_t> prefix;      // image placeholders, then the prompt
  std::vector<std::string> images;  // RGB8, image_size * image_size * 3 each
  int64_t max_new_tokens = 0;
  std::vector<int64_t> eos;  // tokens that end it; empty: it runs to max_new_tokens
  wire::Sampling sampling;
};

/// Runs the request; called on every rank of `engine`'s group, which is one stage that shares a vision tower.
/// `tracer` is given every tensor of every step; null on all ranks but one. Vision tensors hold a row an
/// image token, decoder tensors a row for each token that was fed: the prefix, then each generated token but
/// the last. Returns the generated tokens, an ending one among them.
std::vector<int32_t> trace(Engine& engine, const TraceRequest& request, Tracer* tracer);

}  // namespace lapidary
