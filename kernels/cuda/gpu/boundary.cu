#include <cuda_platform.h>

#include <algorithm>
#include <chrono>
#include <nv/target>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/probe.h"

namespace lapidary::cuda {
namespace {

constexpr int kNodes = 512, kThreads = 256, kTries = 5;

/// Every block adds 1 to its words, which the kernel before has written.
__global__ void count(uint32_t* words) {
  NV_IF_TARGET(NV_PROVIDES_SM_90,
               (asm volatile("griddepcontrol.launch_dependents;"); asm volatile("griddepcontrol.wait;" ::
                                                                                    : "memory");))
  ++words[blockIdx.x * blockDim.x + threadIdx.x];
}

struct Graph {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  ~Graph() {
    if (ready != nullptr) cudaGraphExecDestroy(ready);
    if (graph != nullptr) cudaGraphDestroy(graph);
  }
};

void start(cudaStream_t stream, int blocks, uint32_t* words, bool dependent) {
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = dependent ? 1 : 0;
  check(cudaLaunchKernelEx(&config, count, words), "start a kernel");
}

}  // namespace

double graph_boundary(bool dependent) {
  const DeviceInfo info = device_info();
  if (dependent && info.major < 9) return 0;
  const int blocks = info.multiprocessors;
  const Stream owned = make_stream(false);
  const auto stream = static_cast<cudaStream_t>(owned.handle);
  const size_t size = static_cast<size_t>(blocks) * kThreads;
  const Buffer memory = allocate(size * sizeof(uint32_t));
  auto* words = reinterpret_cast<uint32_t*>(memory.get());
  Graph graph;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "record a graph");
  for (int i = 0; i < kNodes; ++i) start(stream, blocks, words, dependent);
  check(cudaStreamEndCapture(stream, &graph.graph), "record a graph");
  check(cudaGraphInstantiate(&graph.ready, graph.graph, 0), "make a graph ready");
  double best = 0;
  for (int i = 0; i <= kTries; ++i) {  // the first is not counted
    const auto begin = std::chrono::steady_clock::now();
    check(cudaGraphLaunch(graph.ready, stream), "start a graph");
    synchronize(owned);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = i <= 1 ? took.count() : std::min(best, took.count());
  }
  std::vector<uint32_t> seen(size);
  copy(owned, seen.data(), words, size * sizeof(uint32_t));
  destroy(owned);
  for (const uint32_t value : seen)
    if (value != kNodes * (kTries + 1))
      throw std::runtime_error("the check failed: kernels of a graph did not wait for each other");
  return best / kNodes;
}

}  // namespace lapidary::cuda
