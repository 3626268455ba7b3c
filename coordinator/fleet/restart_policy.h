#pragma once

#include <optional>

namespace lapidary {

struct RestartRules {
  double first_seconds = 1;  // of waiting before a start anew; doubled each time
  double longest_seconds = 30;
  double settled_seconds = 60;  // of life, after which the waiting is the first again
  int fruitless_starts = 5;     // in a row, none of which became ready: given up
};

/// When a replica that ended is started anew. Knows no clock.
class RestartPolicy {
 public:
  explicit RestartPolicy(const RestartRules& rules) : rules_(rules), next_(rules.first_seconds) {}

  void ready() { ready_ = true; }
  /// Seconds to wait before the next start, or nothing where there is to be none. `lived`: seconds.
  std::optional<double> ended(double lived);

 private:
  RestartRules rules_;
  double next_;
  int fruitless_ = 0;   // starts in a row that ended without it
  bool ready_ = false;  // the start that runs has been
};

}  // namespace lapidary
