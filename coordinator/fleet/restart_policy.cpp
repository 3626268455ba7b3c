#include "coordinator/fleet/restart_policy.h"

#include <algorithm>

namespace lapidary {

std::optional<double> RestartPolicy::ended(double lived) {
  fruitless_ = ready_ ? 0 : fruitless_ + 1;
  ready_ = false;
  if (fruitless_ >= rules_.fruitless_starts) return std::nullopt;
  if (lived >= rules_.settled_seconds) next_ = rules_.first_seconds;
  const double wait = next_;
  next_ = std::min(2 * next_, rules_.longest_seconds);
  return wait;
}

}  // namespace lapidary
