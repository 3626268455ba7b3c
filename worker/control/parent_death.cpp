#include "worker/control/parent_death.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

namespace lapidary {

void die_with_parent() {
  const pid_t parent = getppid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // A parent that ended in between sends no signal any more.
  if (getppid() != parent) ::raise(SIGKILL);
}

}  // namespace lapidary
