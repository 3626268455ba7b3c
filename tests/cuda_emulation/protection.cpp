#include "tests/cuda_emulation/protection.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

namespace lapidary::emulation {
namespace {

/// Says what happened, then lets the process end as it would have.
void on_segfault(int, siginfo_t* info, void*) {
  static constexpr char kSentence[] =
      "host code touched memory of the emulated device; on a GPU this ends the program (copy() moves it, "
      "allocate_shared() is for both)\n";
  if (info->si_code == SEGV_PKUERR)
    static_cast<void>(!::write(STDERR_FILENO, kSentence, sizeof kSentence - 1));
  ::signal(SIGSEGV, SIG_DFL);  // the access is made again, and ends the process
}

/// The process's key for device memory; -1: the processor or the kernel has none.
int key() {
  static const int kKey = [] {
    const int made = ::pkey_alloc(0, PKEY_DISABLE_ACCESS);
    if (made >= 0) {
      struct sigaction action {};
      action.sa_sigaction = on_segfault;
      action.sa_flags = SA_SIGINFO;
      ::sigaction(SIGSEGV, &action, nullptr);
    }
    return made;
  }();
  return kKey;
}

}  // namespace

// A thread has no rights to a key that it was not given: threads from before the key, too.
bool host_access_is_noticed() { return key() >= 0; }

void make_device_memory(void* begin, size_t bytes) {
  if (key() >= 0) ::pkey_mprotect(begin, bytes, PROT_READ | PROT_WRITE, key());
}

AsDevice::AsDevice() : outer_(key() >= 0 ? ::pkey_get(key()) : 0) {
  if (key() >= 0) ::pkey_set(key(), 0);
}

AsDevice::~AsDevice() {
  if (key() >= 0) ::pkey_set(key(), static_cast<unsigned>(outer_));
}

}  // namespace lapidary::emulation
