#include "tests/cuda_emulation/graph.h"

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_emulation/stream.h"

namespace lapidary {
namespace emulation {
namespace {

using Recording = std::vector<std::function<void()>>;

/// The streams that are recorded.
struct Recordings {
  std::mutex mutex;
  std::map<void*, Recording> of_streams;

  static Recordings& instance() {
    static Recordings recordings;
    return recordings;
  }
  Recording take(cuda::Stream stream) {
    const std::lock_guard lock(mutex);
    const auto found = of_streams.find(stream.handle);
    if (found == of_streams.end()) throw std::logic_error("the stream is not recorded");
    Recording recording = std::move(found->second);
    of_streams.erase(found);
    return recording;
  }
};

}  // namespace

bool record_work(cuda::Stream stream, std::function<void()>& work) {
  Recordings& all = Recordings::instance();
  const std::lock_guard lock(all.mutex);
  const auto found = all.of_streams.find(stream.handle);
  if (found == all.of_streams.end()) return false;
  found->second.push_back(std::move(work));
  return true;
}

void refuse_while_recorded(cuda::Stream stream, const char* what) {
  Recordings& all = Recordings::instance();
  const std::lock_guard lock(all.mutex);
  if (all.of_streams.contains(stream.handle))
    throw std::logic_error(std::string(what) + " while the stream is recorded");
}

}  // namespace emulation

namespace cuda {

using emulation::Recording;
using emulation::Recordings;

void begin_capture(Stream stream) {
  Recordings& all = Recordings::instance();
  const std::lock_guard lock(all.mutex);
  if (stream.handle == nullptr || !all.of_streams.try_emplace(stream.handle).second)
    throw std::logic_error("a stream of its own is recorded, and once");
}

Graph end_capture(Stream stream) { return {new Recording(Recordings::instance().take(stream))}; }

void abandon_capture(Stream stream) { Recordings::instance().take(stream); }

void run_graph(Graph graph, Stream stream) {
  for (const auto& work : *static_cast<Recording*>(graph.handle)) emulation::submit(stream, work);
}

void destroy(Graph graph) { delete static_cast<Recording*>(graph.handle); }

}  // namespace cuda
}  // namespace lapidary
