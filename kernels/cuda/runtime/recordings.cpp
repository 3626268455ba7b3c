#include "kernels/cuda/runtime/recordings.h"

namespace lapidary::cuda {

void Recordings::run(uint64_t key, const std::function<void()>& body) {
  const auto [place, is_new] = graphs_.try_emplace(key);
  if (is_new) return body();
  Graph& graph = place->second;
  if (graph.handle == nullptr) {
    graph = record(body);
  } else {
    ++replays_;
  }
  run_graph(graph, stream_);
}

Graph Recordings::record(const std::function<void()>& body) {
  begin_capture(stream_);
  recording_ = true;
  try {
    body();
  } catch (...) {
    recording_ = false;
    abandon_capture(stream_);
    throw;
  }
  recording_ = false;
  return end_capture(stream_);
}

void Recordings::clear() {
  for (const auto& [key, graph] : graphs_)
    if (graph.handle != nullptr) destroy(graph);
  graphs_.clear();
}

}  // namespace lapidary::cuda
