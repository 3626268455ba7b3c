#include <nccl_device.h>

#include <cuda_platform.h>

namespace lapidary::cuda {
namespace {

/// to[r] = where rank r's part begins; a thread a rank.
__global__ void reach(ncclWindow_t window, std::byte** to) {
  to[threadIdx.x] = static_cast<std::byte*>(ncclGetLsaPointer(window, 0, static_cast<int>(threadIdx.x)));
}

}  // namespace

std::vector<std::byte*> reach_window(Stream stream, void* window, int ranks) {
  std::vector<std::byte*> windows(static_cast<size_t>(ranks));
  const Buffer found = allocate(windows.size() * sizeof(std::byte*));
  launch(stream, dim3(1), ranks, 0, reach, static_cast<ncclWindow_t>(window),
         reinterpret_cast<std::byte**>(found.get()));
  copy(stream, windows.data(), found.get(), windows.size() * sizeof(std::byte*));
  synchronize(stream);
  return windows;
}

}  // namespace lapidary::cuda
