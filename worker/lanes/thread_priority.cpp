#include "worker/lanes/thread_priority.h"

#include <sys/resource.h>
#include <unistd.h>

namespace lapidary {

void lower_priority() {
  constexpr int kNice = 10;
  // On Linux a nice value is a thread's own, and is inherited by the threads it starts.
  const auto thread = static_cast<id_t>(gettid());
  if (getpriority(PRIO_PROCESS, thread) < kNice) setpriority(PRIO_PROCESS, thread, kNice);
}

}  // namespace lapidary
