#include "coordinator/planner/simulation.h"

#include <sys/resource.h>

#include <cstdio>

#include "configs/error.h"
#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/option_table.h"

namespace lapidary {
namespace {

struct SchedulerBench {
  int64_t running = 256;
  int64_t steps = 5000;
  int replicas = 1024;
  int64_t images = 100'000;
};

constexpr double kStepLimit = 50;  // microseconds
constexpr double kCoreLimit = 1;   // seconds at work a second
constexpr double kMemoryLimit = 300;

/// One image and a short prompt a sequence, up to 64 new tokens.
SchedulerConfig limits_for(int64_t sequences, int64_t image_tokens, int64_t step_images, int32_t lanes,
                           int64_t slots) {
  SchedulerConfig config;
  config.capacity.set_max_num_seqs(sequences);
  config.capacity.set_num_layers(1);
  config.capacity.set_image_tokens(image_tokens);
  config.capacity.set_max_step_images(step_images);
  config.capacity.set_max_model_len(image_tokens + 128);
  config.capacity.set_max_num_batched_tokens(step_images * (image_tokens + 64) + sequences);
  config.capacity.set_kv_page_tokens(64);
  config.capacity.set_num_kv_pages(sequences * (config.capacity.max_model_len() / 64 + 1));
  config.capacity.set_encoder_cache_slots(slots);
  for (int32_t lane = 0; lane < lanes; ++lane) config.vision_lanes.push_back(lane);
  return config;
}

/// Seconds of planning, serialising and finishing each step, with all places taken: as one sequence ends the
/// next begins.
std::vector<double> time_steps(const SchedulerBench& bench) {
  const SchedulerConfig config = limits_for(bench.running, 4096, bench.running / 8, 8, bench.running / 16);
  Scheduler scheduler(config);
  BenchWorkers workers(config);
  BenchClient client(2 * bench.steps * config.capacity.max_step_images() + bench.running, 8, 64);
  std::vector<double> times;
  std::string bytes;
  int64_t submitted = 0;
  while (static_cast<int64_t>(times.size()) < bench.steps) {
    while (scheduler.waiting() < static_cast<size_t>(config.capacity.max_step_images()))
      scheduler.submit(client.request(submitted++));
    for (const LaneEncode& order : scheduler.next_encodes()) {
      wire::Encoded done;
      done.set_id(order.encode.id());
      scheduler.encoded(done);
    }
    std::optional<wire::Step> step;
    const double plan = seconds_of([&] {
      step = scheduler.next();
      step->SerializeToString(&bytes);
    });
    const wire::StepDone done = workers.run(*step);
    const bool full = step->decodes_size() + step->prefills_size() >= bench.running * 9 / 10;
    std::vector<RequestOutput> events;
    const double finish = seconds_of([&] { events = scheduler.finish(done); });
    for (const RequestOutput& event : events) client.take(event);
    if (full) times.push_back(plan + finish);
  }
  return times;
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void print_simulation(const SimulatedReplica& model, const SchedulerBench& bench) {
  const Simulated simulated = simulate(model, bench.replicas, bench.images);
  std::printf("%-12s %7.0f %8.0f %7.0f %9.1f %9.0f %8.1f %8.3f %8.0f %7.0f\n", model.name.c_str(),
              model.decode * 1e3, model.prefill * 1e3, model.encode * 1e3, simulated.seconds,
              static_cast<double>(bench.images) / simulated.seconds,
              static_cast<double>(simulated.tokens) / simulated.seconds / 1e6,
              simulated.coordinator / simulated.seconds, peak_megabytes(),
              simulated.coordinator / static_cast<double>(simulated.steps) * 1e9);
  std::fflush(stdout);
}

int run_scheduler(const SchedulerBench& bench) {
  std::vector<double> times = time_steps(bench);
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))] * 1e6;
  };
  std::printf("# a step of %lld sequences, prefixes of 896 px: planned, serialised, finished\n",
              static_cast<long long>(bench.running));
  std::printf("%-12s %8s %8s %8s\n", "", "us", "99 %", "limit");
  std::printf("%-12s %8.1f %8.1f %8.0f\n\n", "step", at(0.5), at(0.99), kStepLimit);

  std::printf("# virtual time: %d replicas, %lld images queued at once; limits: %.0f core, %.0f MB\n",
              bench.replicas, static_cast<long long>(bench.images), kCoreLimit, kMemoryLimit);
  std::printf("%-12s %7s %8s %7s %9s %9s %8s %8s %8s %7s\n", "model", "decode", "prefill", "encode",
              "seconds", "images/s", "Mtok/s", "cores", "peak MB", "ns/step");
  print_simulation({"28B 896 px", limits_for(64, 4096, 1, 8, 2), 0.024, 0.290, 0.100}, bench);
  print_simulation({"3B 224 px", limits_for(256, 256, 8, 1, 16), 0.008, 0.006, 0.004}, bench);
  return 0;
}

}  // namespace

void add_bench_scheduler(CLI::App& bench, SelectedCommand& chosen) {
  auto options = std::make_shared<SchedulerBench>();
  CLI::App& command =
      *bench.add_subcommand("scheduler", "What deciding costs: a step, and a job of many replicas");
  command.add_option("--running", options->running, "Sequences of the timed step")
      ->check(between(16, 4096))
      ->capture_default_str();
  command.add_option("--steps", options->steps, "Timed steps")
      ->check(between(10, 1'000'000))
      ->capture_default_str();
  command.add_option("--replicas", options->replicas, "Simulated replicas")
      ->check(between(1, 100'000))
      ->capture_default_str();
  command.add_option("--images", options->images, "Simulated images")
      ->check(between(1, 10'000'000))
      ->capture_default_str();
  when_selected(command, chosen, [options] { return run_scheduler(*options); });
}

}  // namespace lapidary
