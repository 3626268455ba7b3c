#include "coordinator/fleet/log_limit.h"

#include <utility>

namespace lapidary {

bool LogLimit::admits(Time now) {
  if (now - begin_ >= span_) {
    begin_ = now;
    admitted_ = 0;
  }
  if (admitted_ < lines_) {
    ++admitted_;
    return true;
  }
  ++held_back_;
  return false;
}

int64_t LogLimit::take_held_back(Time now) {
  return now - begin_ >= span_ ? std::exchange(held_back_, 0) : 0;
}

}  // namespace lapidary
