#include "kernels/cuda/runtime/step_inputs.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace lapidary::cuda {
namespace {

size_t padded(size_t bytes) { return (bytes + 15) / 16 * 16; }

}  // namespace

StepInputs::StepInputs(int64_t max_spans, int64_t max_rows)
    : max_spans_(max_spans), max_rows_(std::max(max_spans, max_rows)) {
  bytes_ = padded(static_cast<size_t>(max_spans_) * sizeof(SamplingParams)) +
           padded(static_cast<size_t>(max_spans_) * sizeof(int32_t)) +
           2 * padded(static_cast<size_t>(max_rows_) * sizeof(int32_t));
  device_ = allocate(bytes_);
  for (Buffer& buffer : pinned_) buffer = allocate_pinned(bytes_);
  for (Event& event : copied_) event = make_event();
}

StepInputs::~StepInputs() {
  for (const Event event : copied_) destroy(event);
}

/// The array at offset `at`, for which memory for `capacity` elements is kept. Returns the offset behind it.
template <class T>
size_t StepInputs::put(Held<T>& held, std::span<const T> array, size_t at, int64_t capacity, std::byte* to) {
  held.host.assign(array.begin(), array.end());
  held.device = reinterpret_cast<const T*>(device_.get() + at);
  if (!array.empty()) std::memcpy(to + at, array.data(), array.size_bytes());
  return at + padded(static_cast<size_t>(capacity) * sizeof(T));
}

void StepInputs::upload(Stream stream, const StepArrays& step) {
  const auto rows = static_cast<int64_t>(std::max(step.ids.size(), step.positions.size()));
  if (std::ssize(step.sampling) > max_spans_ || std::ssize(step.slots) > max_spans_ || rows > max_rows_)
    throw std::logic_error("StepInputs: more rows, slots or sampling parameters than it has room for");
  const size_t turn = next_++ % kUploads;
  wait(copied_[turn]);
  std::byte* to = pinned_[turn].get();
  // Steps of many rows have their ids further apart: so the copy of a small one is small.
  const int64_t id_capacity = rows <= max_spans_ ? max_spans_ : max_rows_;
  size_t end = put(sampling_, step.sampling, 0, max_spans_, to);
  end = put(slots_, step.slots, end, max_spans_, to);
  end = put(ids_, step.ids, end, id_capacity, to);
  put(positions_, step.positions, end, id_capacity, to);
  copy(stream, device_.get(), to, end + step.positions.size_bytes());
  record(copied_[turn], stream);
}

}  // namespace lapidary::cuda
