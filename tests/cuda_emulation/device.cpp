#include "kernels/cuda/device.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/graph.h"
#include "tests/cuda_emulation/protection.h"
#include "tests/cuda_emulation/stream.h"

// The device of the emulation: its memory is the host's, its streams wait until they are waited for.

namespace lapidary {
namespace emulation {
namespace {

struct Work {
  std::function<void()> run, ahead;
};

/// What a stream has yet to do.
class Queue {
 public:
  void push(Work work) {
    const std::lock_guard lock(list_);
    work_.push_back(std::move(work));
    ++pushed_;
  }
  uint64_t pushed() {
    const std::lock_guard lock(list_);
    return pushed_;
  }
  bool done(uint64_t count) {
    const std::lock_guard lock(list_);
    return done_ >= count;
  }
  /// Returns when the first `count` pieces of work of all times are done. A piece that waits for another
  /// queue holds up only those behind it: whoever waits for one before it sees that it is done.
  void run_until(uint64_t count) {
    while (ended_ < count) {
      const std::unique_lock one_at_a_time(running_, std::try_to_lock);
      if (!one_at_a_time.owns_lock()) {
        std::this_thread::yield();
      } else if (ended_ < count) {
        run_next(count);
      }
    }
  }

 private:
  void run_next(uint64_t count) {
    const Work work = next();
    const Doing doing{*this};
    const AsDevice device;
    if (!done(count))
      if (const auto ahead = ahead_of_front()) ahead();
    work.run();
  }
  Work next() {
    const std::lock_guard lock(list_);
    Work work = std::move(work_.front());
    work_.pop_front();
    ++done_;  // before it is: what throws is not done again
    return work;
  }
  std::function<void()> ahead_of_front() {
    const std::lock_guard lock(list_);
    return work_.front().ahead;
  }

  /// A piece of work that fails has ended, too.
  struct Doing {
    ~Doing() { ++queue.ended_; }
    Queue& queue;
  };

  std::mutex list_, running_;
  std::deque<Work> work_;
  uint64_t pushed_ = 0, done_ = 0;
  std::atomic<uint64_t> ended_ = 0;
};

std::atomic<int64_t> waits = 0;

struct Mark {
  Queue* queue = nullptr;
  uint64_t count = 0;
};

/// Memory given out, and the streams there are.
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
    memory_[data] = {bytes, kind};
    return {data, [this](std::byte* p) { release(p); }};
  }
  size_t held(Kind kind) {
    const std::lock_guard lock(mutex_);
    size_t bytes = 0;
    for (const auto& [data, piece] : memory_) bytes += piece.kind == kind ? piece.bytes : 0;
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
    return queues_.emplace(std::make_shared<Queue>()).first->get();
  }
  void remove(Queue* queue) {
    queue->run_until(queue->pushed());
    const std::lock_guard lock(mutex_);
    std::erase_if(queues_, [&](const auto& one) { return one.get() == queue; });
  }

 private:
  struct Piece {
    size_t bytes;
    Kind kind;
  };

  /// A device ends its work before it takes memory back.
  void release(std::byte* data) {
    std::vector<std::shared_ptr<Queue>> all;  // another thread may take one of them back meanwhile
    size_t bytes = 0;
    {
      const std::lock_guard lock(mutex_);
      all.assign(queues_.begin(), queues_.end());
      bytes = memory_.at(data).bytes;
    }
    for (const auto& queue : all) queue->run_until(queue->pushed());
    const std::lock_guard lock(mutex_);
    memory_.erase(data);
    release_guarded(data, bytes);
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

size_t device_memory_held() { return Machine::instance().held(Machine::Kind::device); }

void submit(cuda::Stream stream, std::function<void()> work, std::function<void()> ahead) {
  if (record_work(stream, work)) return;
  if (stream.handle == nullptr) {
    const AsDevice device;
    return work();
  }
  static_cast<Queue*>(stream.handle)->push({std::move(work), std::move(ahead)});
}

}  // namespace emulation

namespace cuda {

using emulation::Machine;
using emulation::Mark;
using emulation::Queue;

int device_count() { return emulation::driver().why_no_device.empty() ? 1 : 0; }
std::string why_no_device() { return emulation::driver().why_no_device; }

void use_device(int index) {
  if (index != 0) throw std::runtime_error("the emulation has one device, number 0");
}

DeviceInfo device_info() {
  DeviceInfo info = emulation::driver().device;
  info.free_memory = info.memory - std::min(info.memory, emulation::device_memory_held());
  return info;
}

Stream make_stream(bool) { return {Machine::instance().add_queue()}; }
void destroy(Stream stream) { Machine::instance().remove(static_cast<Queue*>(stream.handle)); }

void* native_handle(Stream) { return nullptr; }
void synchronize(Stream stream) {
  emulation::refuse_while_recorded(stream, "the host waits");
  ++emulation::waits;
  auto* queue = static_cast<Queue*>(stream.handle);
  if (queue != nullptr) queue->run_until(queue->pushed());
}

Event make_event() { return {new Mark}; }
void destroy(Event event) { delete static_cast<Mark*>(event.handle); }
void record(Event event, Stream stream) {
  emulation::refuse_while_recorded(stream, "an event is recorded");
  auto* queue = static_cast<Queue*>(stream.handle);
  if (queue != nullptr) *static_cast<Mark*>(event.handle) = {queue, queue->pushed()};
}
void wait(Event event) {
  const Mark mark = *static_cast<Mark*>(event.handle);
  if (mark.queue == nullptr) return;
  if (!mark.queue->done(mark.count)) ++emulation::waits;
  mark.queue->run_until(mark.count);
}
bool done(Event event) {
  const Mark mark = *static_cast<Mark*>(event.handle);
  return mark.queue == nullptr || mark.queue->done(mark.count);
}

void wait(Stream stream, Event event) {
  const Mark mark = *static_cast<Mark*>(event.handle);
  if (mark.queue == nullptr || mark.queue == stream.handle) return;
  emulation::submit(stream, [mark] { mark.queue->run_until(mark.count); });
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

}  // namespace cuda
}  // namespace lapidary
