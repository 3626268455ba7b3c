#include "configs/failure_text.h"

#include <filesystem>
#include <new>
#include <stdexcept>
#include <system_error>

#include "configs/error.h"

namespace lapidary {

const char* const kNoMemory =
    "not enough memory: the system gives this process no more (the host's own, ulimit -v or a container's "
    "limit); a smaller --max-num-seqs, --max-num-batched-tokens or --threads needs less";

namespace {

constexpr const char* kNoThread =
    "no more threads can be started: the system's limit is reached (ulimit -u, ulimit -v or a container's "
    "pids); --threads, --vision-threads and --image-workers set how many there are";

}  // namespace

std::string failure_text(const std::exception& failure) {
  if (dynamic_cast<const std::bad_alloc*>(&failure) != nullptr ||
      dynamic_cast<const std::length_error*>(&failure) != nullptr)
    return kNoMemory;
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&failure)) {
    const std::string path = file->path1().string();
    return cat(path.empty() ? "the working directory" : path, ": ", file->code().message());
  }
  if (const auto* system = dynamic_cast<const std::system_error*>(&failure);
      system != nullptr && system->code() == std::errc::resource_unavailable_try_again)
    return kNoThread;
  return failure.what();
}

}  // namespace lapidary
