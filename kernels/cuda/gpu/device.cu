#include "kernels/cuda/runtime/device.h"

#include <cuda_platform.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

namespace lapidary::cuda {
namespace {

cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }
cudaEvent_t event_of(Event event) { return static_cast<cudaEvent_t>(event.handle); }

int current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "tell the current CUDA device");
  return device;
}

int attribute(cudaDeviceAttr name) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, name, current_device()), "ask the CUDA device what it is");
  return value;
}

/// 12040 is 12.4.
std::string version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

/// Asks until the device is done: eagerly at first, as most work is short, then in naps, so that waiting
/// costs no core. A thread that waited inside the driver would hold what the end of a collective needs whose
/// other ranks are gone.
template <class Ask>
void wait_gently(const char* what, const Ask& ask) {
  using Clock = std::chrono::steady_clock;
  const auto patience = Clock::now() + std::chrono::microseconds(200);
  for (cudaError_t status = ask(); status != cudaSuccess; status = ask()) {
    if (status != cudaErrorNotReady) check(status, what);
    if (Clock::now() < patience) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw std::runtime_error(std::string("cannot ") + what + ": " + cudaGetErrorString(status));
}

int device_count() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver) return 0;
  check(status, "count the CUDA devices");
  return count;
}

std::string why_no_device() {
  int count = 0, driver = 0, toolkit = 0;
  if (cudaGetDeviceCount(&count) != cudaErrorInsufficientDriver) return "this host has a driver, but no GPU";
  static_cast<void>(cudaDriverGetVersion(&driver));
  static_cast<void>(cudaRuntimeGetVersion(&toolkit));
  if (driver == 0) return "this host has no GPU, or no driver for one";
  return "the driver of this host is one for CUDA " + version(driver) +
         ", and this program was built with CUDA " + version(toolkit) + ": install a newer driver";
}

void use_device(int index) { check(cudaSetDevice(index), "use the CUDA device"); }

DeviceInfo device_info() {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, current_device()), "ask the CUDA device what it is");
  DeviceInfo info;
  info.name = properties.name;
  info.major = properties.major;
  info.minor = properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.shared_memory = properties.sharedMemPerBlockOptin;
  info.warpgroups = info.major == 9 && info.minor == 0;  // no later device has them
  info.l2_cache = static_cast<size_t>(attribute(cudaDevAttrL2CacheSize));
  check(cudaMemGetInfo(&info.free_memory, &info.memory), "ask for the free memory of the CUDA device");
  return info;
}

Stream make_stream(bool high_priority) {
  int lowest = 0, highest = 0;
  check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "ask for the priorities of streams");
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, high_priority ? highest : lowest),
        "make a stream");
  return {stream};
}

// What is given back at the end of a program may find the driver gone: that is no error.
void destroy(Stream stream) { static_cast<void>(cudaStreamDestroy(stream_of(stream))); }

void* native_handle(Stream stream) { return stream.handle; }
void destroy(Event event) { static_cast<void>(cudaEventDestroy(event_of(event))); }

void synchronize(Stream stream) {
  wait_gently("finish the work of a stream", [&] { return cudaStreamQuery(stream_of(stream)); });
}

Event make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "make an event");
  return {event};
}

void record(Event event, Stream stream) {
  check(cudaEventRecord(event_of(event), stream_of(stream)), "record an event");
}

void wait(Event event) {
  wait_gently("wait for an event", [&] { return cudaEventQuery(event_of(event)); });
}

bool done(Event event) {
  const cudaError_t status = cudaEventQuery(event_of(event));
  if (status == cudaErrorNotReady) return false;
  check(status, "ask whether an event has passed");
  return true;
}

void wait(Stream stream, Event event) {
  check(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0), "let a stream wait for an event");
}

// Other threads go on allocating and waiting for their own streams meanwhile: hence the thread's mode.
void begin_capture(Stream stream) {
  check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal), "record a stream");
}

Graph end_capture(Stream stream) {
  cudaGraph_t recorded = nullptr;
  check(cudaStreamEndCapture(stream_of(stream), &recorded), "end the recording of a stream");
  cudaGraphExec_t graph = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&graph, recorded, 0);
  static_cast<void>(cudaGraphDestroy(recorded));
  check(status, "make a graph of what was recorded");
  return {graph};
}

void abandon_capture(Stream stream) {
  cudaGraph_t recorded = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream_of(stream), &recorded));
  if (recorded != nullptr) static_cast<void>(cudaGraphDestroy(recorded));
  static_cast<void>(cudaGetLastError());  // that of an invalid recording is no news to its caller
}

void run_graph(Graph graph, Stream stream) {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.handle), stream_of(stream)), "start a graph");
}

void destroy(Graph graph) {
  static_cast<void>(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph.handle)));
}

Buffer allocate(size_t bytes) {
  const std::string what = "allocate " + std::to_string(bytes) + " bytes of device memory";
  void* data = nullptr;
  check(cudaMalloc(&data, std::max<size_t>(bytes, 1)), what.c_str());
  Buffer buffer(static_cast<std::byte*>(data), [](std::byte* p) { static_cast<void>(cudaFree(p)); });
  check(cudaMemset(data, 0, bytes), "clear device memory");
  check(cudaStreamSynchronize(nullptr), "clear device memory");  // streams of our own don't wait for it
  return buffer;
}

Buffer allocate_pinned(size_t bytes) {
  const std::string what = "allocate " + std::to_string(bytes) + " bytes of pinned memory";
  void* data = nullptr;
  check(cudaHostAlloc(&data, std::max<size_t>(bytes, 1), cudaHostAllocPortable), what.c_str());
  return {static_cast<std::byte*>(data), [](std::byte* p) { static_cast<void>(cudaFreeHost(p)); }};
}

Buffer allocate_shared(size_t bytes) {
  const std::string what = "allocate " + std::to_string(bytes) + " bytes of managed memory";
  void* data = nullptr;
  check(cudaMallocManaged(&data, std::max<size_t>(bytes, 1)), what.c_str());
  std::memset(data, 0, bytes);
  return {static_cast<std::byte*>(data), [](std::byte* p) { static_cast<void>(cudaFree(p)); }};
}

bool on_device(const void* data) {
  cudaPointerAttributes attributes;
  check(cudaPointerGetAttributes(&attributes, data), "ask where memory lies");
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
}

void copy(Stream stream, void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)), "copy memory");
}

void copy_rows(Stream stream, void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes,
               size_t rows) {
  if (bytes == 0 || rows == 0) return;
  if (rows == 1) return copy(stream, to, from, bytes);  // its pitch may be anything
  check(cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, bytes, rows, cudaMemcpyDefault, stream_of(stream)),
        "copy rows of memory");
}

void zero(Stream stream, void* data, size_t bytes) {
  check(cudaMemsetAsync(data, 0, bytes, stream_of(stream)), "clear memory");
}

}  // namespace lapidary::cuda
