#include "kernels/cuda/runtime/device.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/graph.h"
#include "tests/cuda_emulation/protection.h"
#include "tests/cuda_emulation/stream.h"

// The devices of the emulation: their memory is the host's, their streams are threads.

namespace lapidary {
namespace emulation {
namespace {

std::atomic<int64_t> waits = 0;

/// Where a stream was when an event was recorded.
struct DeviceEvent {
  std::mutex mutex;
  std::shared_ptr<Queue> queue;  // null: never recorded
  uint64_t count = 0;

  std::pair<std::shared_ptr<Queue>, uint64_t> get() {
    const std::lock_guard lock(mutex);
    return {queue, count};
  }
};

thread_local int used_device = 0;

/// Memory given out, and the streams there are, of all devices.
class Machine {
 public:
  enum class Kind { none, device, pinned, shared };

  static Machine& instance() {
    static Machine machine;
    return machine;
  }

  Buffer allocate(size_t bytes, Kind kind) {
    std::byte* data = allocate_guarded(bytes);
    if (kind == Kind::device) make_device_memory(first_page(data, bytes), guarded_bytes(bytes));
    const std::lock_guard lock(mutex_);
    memory_[data] = {bytes, kind, used_device};
    return {data, [this](std::byte* p) { release(p); }};
  }
  size_t held(Kind kind, int device) {
    const std::lock_guard lock(mutex_);
    size_t bytes = 0;
    for (const auto& [data, piece] : memory_)
      bytes += piece.kind == kind && piece.device == device ? piece.bytes : 0;
    return bytes;
  }
  Kind kind_of(const void* data) {
    const std::lock_guard lock(mutex_);
    auto after = memory_.upper_bound(static_cast<const std::byte*>(data));
    if (after == memory_.begin()) return Kind::none;
    const auto& [begin, piece] = *--after;
    return static_cast<const std::byte*>(data) <= begin + piece.bytes ? piece.kind : Kind::none;
  }

  Queue* add_queue() {
    const std::lock_guard lock(mutex_);
    return queues_.emplace(std::make_shared<Queue>(used_device)).first->get();
  }
  std::shared_ptr<Queue> share(Queue* queue) {
    const std::lock_guard lock(mutex_);
    for (const auto& one : queues_)
      if (one.get() == queue) return one;
    throw std::logic_error("a stream that is not there");
  }
  void remove(Queue* queue) {
    const std::shared_ptr<Queue> last = share(queue);
    last->settle();
    const std::lock_guard lock(mutex_);
    queues_.erase(last);
  }

 private:
  struct Piece {
    size_t bytes;
    Kind kind;
    int device;
  };

  /// A device ends its work before it takes memory back.
  void release(std::byte* data) {
    std::vector<std::shared_ptr<Queue>> all;  // another thread may take one of them back meanwhile
    Piece piece;
    {
      const std::lock_guard lock(mutex_);
      piece = memory_.at(data);
      for (const auto& queue : queues_)
        if (queue->device() == piece.device) all.push_back(queue);
    }
    for (const auto& queue : all) queue->settle();
    const std::lock_guard lock(mutex_);
    memory_.erase(data);
    release_guarded(data, piece.bytes);
  }

  std::mutex mutex_;
  std::map<const std::byte*, Piece> memory_;
  std::set<std::shared_ptr<Queue>> queues_;
};

}  // namespace

int64_t host_waits() { return waits; }

Driver::Driver() {
  device.name = "emulated";
  device.major = 9;
  device.multiprocessors = 4;
  device.memory = size_t{1} << 30;
  device.shared_memory = size_t{163} << 10;
  device.l2_cache = size_t{1} << 20;
}

Driver& driver() {
  static Driver driver;
  return driver;
}

size_t device_memory_held() { return Machine::instance().held(Machine::Kind::device, used_device); }

int current_device() { return used_device; }

}  // namespace emulation

namespace cuda {

using emulation::DeviceEvent;
using emulation::Machine;
using emulation::Queue;

int device_count() { return emulation::driver().why_no_device.empty() ? emulation::kDevices : 0; }
std::string why_no_device() { return emulation::driver().why_no_device; }

void use_device(int index) {
  if (index < 0 || index >= device_count())
    throw std::runtime_error("the emulation has no device " + std::to_string(index));
  emulation::used_device = index;
}

DeviceInfo device_info() {
  DeviceInfo info = emulation::driver().device;
  info.free_memory = info.memory - std::min(info.memory, emulation::device_memory_held());
  return info;
}

Stream make_stream(bool) { return {Machine::instance().add_queue()}; }
void destroy(Stream stream) { Machine::instance().remove(static_cast<Queue*>(stream.handle)); }

void* native_handle(Stream stream) { return stream.handle; }
void synchronize(Stream stream) {
  emulation::refuse_while_recorded(stream, "the host waits");
  ++emulation::waits;
  auto* queue = static_cast<Queue*>(stream.handle);
  if (queue != nullptr) queue->wait(queue->pushed());
}

Event make_event() { return {new DeviceEvent}; }
void destroy(Event event) { delete static_cast<DeviceEvent*>(event.handle); }
void record(Event event, Stream stream) {
  emulation::refuse_while_recorded(stream, "an event is recorded");
  if (stream.handle == nullptr) return;
  auto queue = Machine::instance().share(static_cast<Queue*>(stream.handle));
  const uint64_t count = queue->pushed();
  auto* mark = static_cast<DeviceEvent*>(event.handle);
  const std::lock_guard lock(mark->mutex);
  mark->queue.swap(queue);
  mark->count = count;
}
void wait(Event event) {
  const auto [queue, count] = static_cast<DeviceEvent*>(event.handle)->get();
  if (!queue) return;
  if (!queue->done(count)) ++emulation::waits;
  queue->wait(count);
}
bool done(Event event) {
  const auto [queue, count] = static_cast<DeviceEvent*>(event.handle)->get();
  return !queue || queue->done(count);
}
void wait(Stream stream, Event event) {
  const auto [queue, count] = static_cast<DeviceEvent*>(event.handle)->get();
  if (!queue || queue.get() == stream.handle) return;
  emulation::submit(stream, [queue = queue, count = count] { queue->settle(count); });
}

Buffer allocate(size_t bytes) { return Machine::instance().allocate(bytes, Machine::Kind::device); }
Buffer allocate_pinned(size_t bytes) { return Machine::instance().allocate(bytes, Machine::Kind::pinned); }
Buffer allocate_shared(size_t bytes) { return Machine::instance().allocate(bytes, Machine::Kind::shared); }
bool on_device(const void* data) {
  const Machine::Kind kind = Machine::instance().kind_of(data);
  return kind == Machine::Kind::device || kind == Machine::Kind::shared;
}

void copy(Stream stream, void* to, const void* from, size_t bytes) {
  copy_rows(stream, to, bytes, from, bytes, bytes, 1);
}

void copy_rows(Stream stream, void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes,
               size_t rows) {
  const auto move = [=](const void* source, size_t pitch) {
    for (size_t r = 0; r < rows; ++r)
      std::memcpy(static_cast<std::byte*>(to) + r * to_pitch,
                  static_cast<const std::byte*>(source) + r * pitch, bytes);
  };
  Machine& machine = Machine::instance();
  if (machine.kind_of(to) == Machine::Kind::none) {
    synchronize(stream);
    const emulation::AsDevice device;
    return move(from, from_pitch);
  }
  if (machine.kind_of(from) != Machine::Kind::none)
    return emulation::submit(stream, [=] { move(from, from_pitch); });
  // Memory of the host alone is read before the call returns.
  std::vector<std::byte> taken(bytes * rows);
  for (size_t r = 0; r < rows && bytes > 0; ++r)
    std::memcpy(taken.data() + r * bytes, static_cast<const std::byte*>(from) + r * from_pitch, bytes);
  emulation::submit(stream, [=] { move(taken.data(), bytes); });
}

void zero(Stream stream, void* data, size_t bytes) {
  emulation::submit(stream, [=] { std::memset(data, 0, bytes); });
}

/// NCCL's stand-in names a window by the list of its parts.
std::vector<std::byte*> reach_window(Stream, void* window, int ranks) {
  auto* const* parts = static_cast<std::byte**>(window);
  return {parts, parts + ranks};
}

}  // namespace cuda
}  // namespace lapidary
