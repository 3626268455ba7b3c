#pragma once

#include <functional>
#include <string>

#include "configs/mesh.h"
#include "worker/engine/memory_plan.h"

namespace lapidary {

/// What a rank needs of a GPU's memory, beside what its backend holds already.
struct DeviceNeed {
  Memory planned;    // the rank's, activations included, and its vision lane's
  size_t lane = 0;   // what the vision lane's backend holds for itself
  size_t later = 0;  // that the device's libraries take when they are first used
  size_t total() const { return planned.total() + lane + later; }
};

/// Throws a sentence where `free` bytes of `gpu` are too few: what needs how much, and the smallest --tp and
/// the largest --max-num-seqs that would do. `need_of(options, tp)` says what a rank would need of weights,
/// KV pages and embeddings with other ones; it throws what a tp that cannot be throws.
using NeedOf = std::function<Memory(const EngineOptions& options, int tp)>;
void check_device_memory(const DeviceNeed& need, size_t free, const std::string& gpu,
                         const EngineOptions& options, int tp, const NeedOf& need_of);

}  // namespace lapidary
