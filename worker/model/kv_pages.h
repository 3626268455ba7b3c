#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"

namespace lapidary {

/// Keys and values of all running sequences: a pool of pages for each layer, allocated at start. Page p of a
/// sequence has one number, valid in every layer; who holds which page is decided elsewhere (the scheduler).
class KvPages {
 public:
  KvPages(Backend& ops, const KvShape& shape, int64_t layers, int64_t pages)
      : pages_(pages), layer_bytes_(static_cast<size_t>(pages) * ops.kv_page_bytes(shape)) {
    for (int64_t i = 0; i < layers; ++i) layers_.push_back(ops.allocate(layer_bytes_));
  }

  std::byte* layer(size_t index) const { return layers_[index].get(); }
  int64_t pages() const { return pages_; }
  size_t bytes() const { return layer_bytes_ * layers_.size(); }

 private:
  int64_t pages_;
  size_t layer_bytes_;
  std::vector<Buffer> layers_;
};

}  // namespace lapidary
