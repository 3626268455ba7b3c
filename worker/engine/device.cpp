#include "worker/engine/device.h"

#include <charconv>
#include <cstdlib>
#include <optional>

#include "configs/error.h"
#include "kernels/cuda_options.h"
#include "sharding/comm/launch_environment.h"
#include "sharding/comm/nccl_options.h"
#include "worker/engine/memory_plan.h"

namespace lapidary {
namespace {

/// N of "cuda:N"; none: "cuda" or "auto".
std::optional<int> named_gpu(const std::string& device) {
  constexpr std::string_view kPrefix = "cuda:";
  if (!device.starts_with(kPrefix)) return std::nullopt;
  int index = -1;
  const char* end = device.data() + device.size();
  const auto read = std::from_chars(device.data() + kPrefix.size(), end, index);
  if (read.ec != std::errc() || read.ptr != end || index < 0)
    fail("--device is cpu, cuda, cuda:N or auto, not '", device, "'");
  return index;
}

/// The GPU of this rank, of `gpus` that the host has.
int gpu_of_rank(const EngineOptions& options, int gpus) {
  const int ranks = local_size();
  if (const auto named = named_gpu(options.device)) {
    if (*named >= gpus)
      fail("--device is ", options.device, ", but this host has ", gpus, gpus == 1 ? " GPU" : " GPUs",
           ", numbered from 0");
    if (ranks > 1 && !options.shared_gpu)
      fail("--device ", options.device, " gives one GPU to ", ranks,
           " ranks of this host; use --device cuda");
    return *named;
  }
  if (ranks > gpus && !options.shared_gpu)
    fail(ranks, " ranks on this host, but it has ", gpus, gpus == 1 ? " GPU" : " GPUs",
         ": start fewer ranks (--test-shared-gpu lets them share, slowly, for tests)");
  return local_rank() % gpus;
}

/// Where this user's programs keep what they can make again; empty: nowhere.
std::filesystem::path cache_folder() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache != nullptr && *cache == '/') return std::filesystem::path(cache) / "lapidary";
  return home != nullptr && *home == '/' ? std::filesystem::path(home) / ".cache/lapidary"
                                         : std::filesystem::path();
}

/// Ranks that measure may choose differently, and sum differently then.
PrefillMode prefill_of(const EngineOptions& options) {
  return options.prefill == PrefillMode::measured && options.deterministic ? PrefillMode::warps
                                                                           : options.prefill;
}

}  // namespace

bool uses_gpu(const EngineOptions& options) {
  return options.device != "cpu" && (options.device != "auto" || cuda_devices().count > 0);
}

std::unique_ptr<Backend> make_backend(const EngineOptions& options, ThreadPool& threads, Lane lane) {
  const std::string& device = options.device;
  if (device == "cpu") return make_cpu_backend(threads, options.isa);
  if (device != "auto" && device != "cuda" && !named_gpu(device))
    fail("--device is cpu, cuda, cuda:N or auto, not '", device, "'");
  const CudaDevices found = cuda_devices();
  if (found.count > 0) {
    CudaOptions cuda{gpu_of_rank(options, found.count), options.deterministic, options.early_start,
                     cache_folder()};
    cuda.overlap_min_rows = options.overlap_min_rows;
    cuda.prefill = prefill_of(options);
    cuda.high_priority = lane == Lane::decoder;
    if (lane == Lane::vision) cuda.share = options.vision_gpu_share;
    try {
      return make_cuda_backend(threads, cuda);
    } catch (const std::runtime_error& error) {
      fail("--device is ", device, ", but ", error.what());
    }
  }
  if (device == "auto") return make_cpu_backend(threads, options.isa);
  fail("--device is ", device, ", but ", found.why_none);
}

std::unique_ptr<DeviceComm> make_device_comm(Communicator& host, Backend& backend, Watchdog& watchdog,
                                             const EngineOptions& options) {
  if (backend.on_host()) return make_host_rows(host);
  if (backend.native_stream() == nullptr || host.size() == 1 || options.nccl.empty())
    return make_staged(host, backend);
  NcclOptions nccl;
  nccl.deterministic = options.deterministic;
  nccl.shared_gpu = options.shared_gpu;
  nccl.library = options.nccl;
  nccl.peer_sums = options.peer_sums;
  return make_nccl(host, backend, watchdog, nccl);
}

}  // namespace lapidary
