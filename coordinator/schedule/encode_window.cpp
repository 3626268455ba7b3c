#include "coordinator/schedule/encode_window.h"

#include <utility>

namespace lapidary {

std::optional<LaneEncode> EncodeWindow::next() {
  if (waiting_.empty()) return std::nullopt;
  const auto bytes = static_cast<int64_t>(waiting_.front().image->data().size());
  if (bytes > 0 && out_ > 0 && out_ + bytes > room_) return std::nullopt;
  LaneEncode order = std::move(waiting_.front());
  waiting_.pop_front();
  if (bytes > 0) bytes_.emplace(order.encode.id(), bytes);
  out_ += bytes;
  return order;
}

void EncodeWindow::answered(uint64_t encode_id) {
  const auto found = bytes_.find(encode_id);
  if (found == bytes_.end()) return;
  out_ -= found->second;
  bytes_.erase(found);
}

}  // namespace lapidary
