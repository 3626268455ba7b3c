#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "coordinator/dataset/inputs.h"

namespace lapidary {

/// Reads items ahead on a thread of its own, so that slow disks and long lists never hold up the coordinator.
class ItemReader {
 public:
  /// Gives the next item, none at the end; called on the reader's thread alone.
  using InputSource = std::function<std::optional<DatasetItem>()>;
  /// `ahead` items wait at most, and fewer where their prompts are long. `news` is called, on the reader's
  /// thread, when items are there again after there were none, and when no more will come.
  ItemReader(InputSource source, size_t ahead, std::function<void()> news);
  /// Waits for the item that is being read, no longer.
  ~ItemReader();
  ItemReader(const ItemReader&) = delete;
  ItemReader& operator=(const ItemReader&) = delete;

  /// The next item if one is there. Throws what the source threw, once the items before it are taken.
  std::optional<DatasetItem> take();
  /// Whether the source has ended and all its items were taken.
  bool ended() const;

 private:
  void read(const InputSource& source);

  const size_t ahead_;
  const std::function<void()> news_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<DatasetItem> items_;
  size_t text_bytes_ = 0;  // of their prompts
  std::exception_ptr trouble_;
  bool exhausted_ = false;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace lapidary
