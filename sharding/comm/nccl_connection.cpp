#include "sharding/comm/nccl_connection.h"

#include <chrono>
#include <thread>
#include <utility>

#include "configs/error.h"

namespace lapidary {

void NcclConnection::join(const ncclUniqueId& id, int ranks, int rank) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclResult_t result;
  {
    const std::lock_guard lock(mutex_);
    result = nccl_.init(&comm_, ranks, id, rank, &config);
  }
  settle(result, "connect the ranks");
}

std::string NcclConnection::trouble() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  ncclResult_t state = ncclSuccess;
  if (!lock || comm_ == nullptr) return {};
  const ncclResult_t asked = nccl_.async_error(comm_, &state);
  if (asked != ncclSuccess) state = asked;
  return state == ncclSuccess || state == ncclInProgress ? "" : sentence("go on", state);
}

void NcclConnection::abort() {
  const std::lock_guard lock(mutex_);
  if (comm_ != nullptr) nccl_.abort(std::exchange(comm_, nullptr));
}

void NcclConnection::ended(const char* what) {
  fail("NCCL did not ", what, ": its communicator was told to end");
}

std::string NcclConnection::sentence(const char* what, ncclResult_t result) const {
  const char* more = comm_ != nullptr ? nccl_.last_error(comm_) : "";
  return cat("NCCL cannot ", what, ": ", nccl_.error_string(result), *more != 0 ? cat(" (", more, ")") : "");
}

void NcclConnection::settle(ncclResult_t result, const char* what) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(deadline_seconds_);
  while (result == ncclInProgress) {
    if (Clock::now() > until) fail("NCCL did not ", what, " within ", deadline_seconds_, " s");
    std::this_thread::yield();
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) ended(what);
    const ncclResult_t asked = nccl_.async_error(comm_, &result);
    if (asked != ncclSuccess) result = asked;
  }
  const std::lock_guard lock(mutex_);
  if (result != ncclSuccess) fail(sentence(what, result));
}

}  // namespace lapidary
