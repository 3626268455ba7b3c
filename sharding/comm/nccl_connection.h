#pragma once

#include <mutex>
#include <string>

#include "sharding/comm/nccl_library.h"
#include "sharding/comm/watchdog.h"

namespace lapidary {

/// NCCL's communicator and the one way into it: by one thread at a time and never for long, so that a rank
/// whose peer died can be told to end. Calls are polled until they are under way. What fails, or is not under
/// way within `deadline` seconds, throws a sentence.
class NcclConnection final : public Watchdog::Watched {
 public:
  NcclConnection(const Nccl& nccl, double deadline_seconds)
      : nccl_(nccl), deadline_seconds_(deadline_seconds) {}

  /// Connects the ranks that come with this id.
  void join(const ncclUniqueId& id, int ranks, int rank);

  /// start(communicator) begins a call of NCCL's, or several in a group.
  template <class Start>
  void call(const char* what, const Start& start) {
    ncclResult_t result;
    {
      const std::lock_guard lock(mutex_);
      if (comm_ == nullptr) ended(what);
      result = start(comm_);
    }
    settle(result, what);
  }

  std::string trouble() override;
  /// Never finalised: that would wait for ranks that may be gone.
  void abort() override;

 private:
  [[noreturn]] static void ended(const char* what);
  std::string sentence(const char* what, ncclResult_t result) const;
  /// Waits until a call is on its way.
  void settle(ncclResult_t result, const char* what);

  const Nccl nccl_;
  const double deadline_seconds_;
  std::mutex mutex_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace lapidary
