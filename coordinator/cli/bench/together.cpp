#include <atomic>
#include <thread>

#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/bench/work.h"
#include "worker/engine/vision_tower.h"

namespace lapidary {
namespace {

/// A tower with what it reads and writes.
class Tower {
 public:
  Tower(const EngineOptions& options, const ModelConfig& config)
      : tower_(options, config, true),
        space_(tower_.backend()),
        out_(space_.make(tower_.images() * tower_.tokens(), tower_.hidden())) {
    for (int64_t i = 0; i < tower_.images(); ++i) rgb_.push_back(noise_image(config, static_cast<int>(i)));
    for (const std::string& image : rgb_) pixels_.push_back(reinterpret_cast<const uint8_t*>(image.data()));
  }
  void encode(int64_t times) {
    for (int64_t i = 0; i < times; ++i) tower_.encode(out_, pixels_);
    tower_.backend().synchronize();
  }

 private:
  VisionTower tower_;
  Workspace space_;
  Tensor out_;
  std::vector<std::string> rgb_;
  std::vector<const uint8_t*> pixels_;
};

}  // namespace

Together time_together(Engine& engine, Communicator& comm, const EngineOptions& options,
                       const wire::Step& step, int max_steps, double seconds) {
  Tower tower(options, engine.config());
  int64_t left = max_steps;  // a sequence has room for so many tokens
  const auto decode = [&](int64_t steps) {
    run_decodes(engine, step, steps);
    left -= steps;
  };
  decode(2);
  tower.encode(2);  // which also warms both up
  const double one_step = seconds_of([&] { decode(4); }) / 4,
               one_encode = seconds_of([&] { tower.encode(2); }) / 2;
  auto encodes = std::max<int64_t>(1, static_cast<int64_t>(seconds / one_encode));
  const double span = static_cast<double>(encodes) * one_encode;
  auto steps = std::clamp<int64_t>(static_cast<int64_t>(span / one_step), 1, std::max<int64_t>(1, left / 2));
  for (int64_t* count : {&encodes, &steps})  // all ranks do as much as the first has reckoned
    comm.broadcast(reinterpret_cast<std::byte*>(count), sizeof(*count), 0);
  Together times;
  times.vision = seconds_of([&] { tower.encode(encodes); });
  times.decode = seconds_of([&] { decode(steps); });
  times.both = seconds_of([&] {
    std::exception_ptr failure;
    std::thread lane([&] {
      try {
        tower.encode(encodes);
      } catch (...) {
        failure = std::current_exception();
      }
    });
    decode(steps);
    lane.join();
    if (failure) std::rethrow_exception(failure);
  });
  return times;
}

}  // namespace lapidary
