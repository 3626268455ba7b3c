#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "configs/wire/wire.pb.h"

namespace lapidary {

/// What a worker's lanes did when: sums of time by kind, and where asked for every span. Any thread may add,
/// any may take.
class SpanRecorder {
 public:
  using Kind = wire::Span::Kind;

  /// Without spans an add is one atomic addition.
  explicit SpanRecorder(bool spans);

  /// Times are of steady_time(); `number` is the step's, or how many images were encoded; `prefills`: a step
  /// that runs some.
  void add(Kind kind, int64_t begin, int64_t end, uint64_t number, bool prefills = false);

  /// Fills in the sums since the start, and moves out the spans since the last call. Of spans nobody takes
  /// only the first kMaxSpans are kept (sums stay whole), so that a heartbeat stays a message of a few MB.
  void take(wire::Heartbeat& heartbeat);

  static constexpr size_t kMaxSpans = 65'536;

 private:
  struct Entry {
    Kind kind;
    int64_t begin, end;
    uint64_t number;
    bool prefills;
  };

  const bool spans_;
  std::array<std::atomic<int64_t>, wire::Span::Kind_ARRAYSIZE> busy_{};
  std::mutex mutex_;  // of entries_
  std::vector<Entry>
      entries_;            // both vectors are as large as they get from the start: an add allocates nothing
  std::mutex take_mutex_;  // of taken_
  std::vector<Entry> taken_;
};

}  // namespace lapidary
