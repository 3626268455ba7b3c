#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "kernels/attention_types.h"
#include "kernels/sampling_types.h"

namespace lapidary {

/// The arrays of the host that a step's operations will be given.
struct StepArrays {
  std::span<const AttentionSpan> spans{};
  std::span<const int32_t> positions{};        // of rope()
  std::span<const int32_t> ids{};              // of embed()
  std::span<const int32_t> slots{};            // of scatter()
  std::span<const SamplingParams> sampling{};  // of top_candidates() and sample()
  // Spans, and tokens of the longest of them, that a recording behind prepare() shall do for.
  int64_t max_spans = 0, max_tokens = 0;
};

/// Steps that are recorded once and replayed (CUDA graphs). A backend that does not record runs each body.
class StepGraphs {
 public:
  virtual ~StepGraphs() = default;

  /// Brings a step's arrays to the device, all at once and before its operations: those then need nothing of
  /// the host when they are given arrays of the same contents. Valid until the next prepare().
  virtual void prepare(const StepArrays&) {}
  /// Runs body(), which calls operations of this backend, and of communicators that are in_stream(), with
  /// prepared arrays. A backend may record the operations and later do the same ones without a call of the
  /// body; so a key stands for the same operations on the same tensors, while the prepared arrays' contents
  /// may differ. What needs the host (an array that was not prepared, allocate, synchronize, copies from and
  /// to its memory) is a std::logic_error while a body is recorded.
  virtual void replay(uint64_t key, const std::function<void()>& body) {
    static_cast<void>(key);
    body();
  }
  /// Gives back what was recorded; not while it is under way. To be called before a communicator ends that
  /// recordings are part of, for it would wait for their end.
  virtual void forget_recordings() {}
  /// Whether replay() records. Steps are then padded to few sizes, so that few recordings do for all.
  virtual bool records() const { return false; }
  /// How often replay() did without its body.
  virtual int64_t replays() const { return 0; }
};

}  // namespace lapidary
