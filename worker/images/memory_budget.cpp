#include "worker/images/memory_budget.h"

#include <stdexcept>

#include "configs/error.h"

namespace lapidary {

void MemoryBudget::Share::take(int64_t bytes) {
  if (bytes_ != 0) throw std::logic_error("a share of memory is taken once");
  if (bytes > budget_.all_)
    fail("takes ", bytes, " bytes of memory to decode, more than the ", budget_.all_,
         " that this process may hold of pictures at once (--image-memory-gb)");
  std::unique_lock lock(budget_.mutex_);
  const uint64_t ticket = budget_.next_ticket_++;
  budget_.changed_.wait(lock, [&] { return budget_.serving_ == ticket && budget_.free_ >= bytes; });
  ++budget_.serving_;
  budget_.free_ -= bytes;
  bytes_ = bytes;
  budget_.changed_.notify_all();
}

MemoryBudget::Share::~Share() {
  const std::lock_guard lock(budget_.mutex_);
  budget_.free_ += bytes_;
  budget_.changed_.notify_all();
}

}  // namespace lapidary
