#include "worker/lanes/span_recorder.h"

namespace lapidary {

SpanRecorder::SpanRecorder(bool spans) : spans_(spans) {
  if (!spans) return;
  entries_.reserve(kMaxSpans);
  taken_.reserve(kMaxSpans);
}

void SpanRecorder::add(Kind kind, int64_t begin, int64_t end, uint64_t number, bool prefills) {
  busy_[static_cast<size_t>(kind)].fetch_add(end - begin, std::memory_order_relaxed);
  if (!spans_) return;
  const std::lock_guard lock(mutex_);
  if (entries_.size() < kMaxSpans) entries_.push_back({kind, begin, end, number, prefills});
}

void SpanRecorder::take(wire::Heartbeat& heartbeat) {
  heartbeat.clear_busy();
  for (const auto& busy : busy_) heartbeat.add_busy(busy.load(std::memory_order_relaxed));
  if (!spans_) return;
  const std::lock_guard taking(take_mutex_);
  {
    // The lanes wait for a swap, not for the messages that are made of the entries.
    const std::lock_guard lock(mutex_);
    entries_.swap(taken_);
  }
  for (const Entry& entry : taken_) {
    wire::Span& span = *heartbeat.add_spans();
    span.set_kind(entry.kind);
    span.set_begin(entry.begin);
    span.set_end(entry.end);
    span.set_number(entry.number);
    if (entry.prefills) span.set_prefills(true);
  }
  taken_.clear();
}

}  // namespace lapidary
