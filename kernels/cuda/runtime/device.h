#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace lapidary::cuda {

/// A queue of work on the device. A null handle is the device's own.
struct Stream {
  void* handle = nullptr;
  bool early_start = true;  // of kernels that can (early_start.h)
};

/// What the host asks of a CUDA device beside starting kernels, without CUDA's headers. All functions act on
/// the thread's current device and throw std::runtime_error with a sentence where the driver refuses.
/// kernels/cuda/gpu has the real ones, tests/cuda_emulation those of a device in host memory.

struct DeviceInfo {
  std::string name;          // "NVIDIA H200"
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  size_t memory = 0, free_memory = 0;  // bytes
  size_t shared_memory = 0;            // bytes a block may have
  size_t l2_cache = 0;                 // bytes
  bool warpgroups = false;             // it has sm_90a's products of warpgroups
};

int device_count();
/// Where device_count() is 0: why, as half a sentence.
std::string why_no_device();
void use_device(int index);
DeviceInfo device_info();

Stream make_stream(bool high_priority);
void destroy(Stream stream);
/// The stream as the device's own libraries take it.
void* native_handle(Stream stream);
void synchronize(Stream stream);  // asks until it is done, in naps

/// A point in a stream's work.
struct Event {
  void* handle = nullptr;
};
Event make_event();
void destroy(Event event);
void record(Event event, Stream stream);  // behind all that the stream has been given
void wait(Event event);  // until the work before it is done; at once if it was never recorded
bool done(Event event);  // whether wait() would return at once
/// What the stream is given from here on begins after the work before the event, which may be another
/// stream's of this device.
void wait(Stream stream, Event event);

/// Work that a stream was given while it was recorded, to be given to it again, at once.
struct Graph {
  void* handle = nullptr;
};
/// What this thread gives the stream from here on is recorded and not done. Waiting for the stream is an
/// error meanwhile, as are events.
void begin_capture(Stream stream);
Graph end_capture(Stream stream);
void abandon_capture(Stream stream);  // ends it without a result, whatever went wrong
void run_graph(Graph graph, Stream stream);
void destroy(Graph graph);

/// Device memory, zeroed, aligned to 256 bytes. Giving it back waits for the device.
Buffer allocate(size_t bytes);
/// Host memory that the device copies from and to without help.
Buffer allocate_pinned(size_t bytes);
/// Device memory that the host reads and writes, too, while the device does nothing: for tests.
Buffer allocate_shared(size_t bytes);
/// Whether `data` is memory of the device (or managed memory): what a kernel reads and writes fast.
bool on_device(const void* data);

/// Either side may be host memory. From or to pinned memory it returns before it is done.
void copy(Stream stream, void* to, const void* from, size_t bytes);
/// `rows` rows of `bytes`, each `…_pitch` bytes after the one before.
void copy_rows(Stream stream, void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes,
               size_t rows);
void zero(Stream stream, void* data, size_t bytes);

/// Where the current device reaches each rank's part of a window of NCCL's (ncclWindow_t), the ranks being
/// those of its communicator; empty where the program was built without NCCL's device functions.
std::vector<std::byte*> reach_window(Stream stream, void* window, int ranks);

}  // namespace lapidary::cuda
