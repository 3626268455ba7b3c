#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace lapidary {

/// Memory that threads share: who wants more than is free waits, so that large pictures are decoded one after
/// the other and small ones beside each other.
class MemoryBudget {
 public:
  /// What one thread holds, until it ends.
  class Share {
   public:
    explicit Share(MemoryBudget& budget) : budget_(budget) {}
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    /// Waits until `bytes` are free and holds them; once a share. Throws Error when there are not so many in
    /// all.
    void take(int64_t bytes);

   private:
    MemoryBudget& budget_;
    int64_t bytes_ = 0;
  };

  /// `bytes`: of all that hold at the same time; not negative.
  explicit MemoryBudget(int64_t bytes) : all_(bytes), free_(bytes) {}

 private:
  const int64_t all_;
  int64_t free_;
  uint64_t next_ticket_ = 0;  // served in order: a large picture is not passed by small ones for ever
  uint64_t serving_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace lapidary
