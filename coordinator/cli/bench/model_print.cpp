#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "configs/error.h"
#include "coordinator/cli/bench/model.h"

namespace lapidary {
namespace {

/// Prints figures and gives them to the file.
class Printer {
 public:
  Printer(const ModelBench& bench, const Roofline& limits) : file_(bench.figures), limits_(limits) {
    std::printf("# limits in this run: %.1f GFLOP/s %s (prefill), %.1f (vision); %.1f GB/s %s",
                limits.prefill / 1e9, limits.products_name(), limits.vision / 1e9, limits.bytes() / 1e9,
                limits.bytes_name());
    std::printf(limits.on_host ? "\n" : ", %.1f read only\n", limits.read / 1e9);
    std::printf("%-22s %10s %12s %-8s %10s\n", "part", "ms", "rate", "", "of limit");
  }
  void operations(const std::string& what, double seconds, double amount, double limit, double goal) const {
    row({what, seconds * 1e3, "ms", amount / seconds / 1e9, limit / 1e9, "GFLOP/s", limits_.products_name(),
         amount / seconds / limit, goal});
  }
  void bytes(const std::string& what, double seconds, double amount, double goal) const {
    const double limit = limits_.bytes();
    row({what, seconds * 1e3, "ms", amount / seconds / 1e9, limit / 1e9, "GB/s", limits_.bytes_name(),
         amount / seconds / limit, goal});
  }
  void row(const Figure& f) const {
    const std::string rate = f.limit > 0 ? cat(fixed(f.rate), " ", f.rate_unit) : "";
    const std::string goal = f.goal == 0   ? ""
                             : f.limit > 0 ? cat("goal ", 100 * f.goal, " %")
                                           : cat("goal ", f.at_most ? "<= " : "", f.goal);
    std::printf("%-22s %10.1f %12s %-8s %8.1f %%   %s\n", f.what.c_str(), f.value,
                f.limit > 0 ? fixed(f.rate).c_str() : "", f.limit > 0 ? f.rate_unit.c_str() : f.unit.c_str(),
                100 * f.share, goal.c_str());
    file_.add(f);
  }

 private:
  static std::string fixed(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value);
    return text;
  }
  const FigureFile& file_;
  const Roofline& limits_;
};

/// All-reduces of NVLink as others measured them (seconds, bytes a second), for 2, 4 and 8 ranks.
double modelled_all_reduce(int ranks, double bytes) {
  const double latency = ranks <= 2 ? 4e-6 : ranks <= 4 ? 5e-6 : 6.5e-6;
  const double rate = ranks <= 2 ? 330e9 : ranks <= 4 ? 250e9 : 270e9;
  return latency + bytes / rate;
}

/// Pictures a second if vision, prefill and decode came one after the other at the rates measured in this
/// run, in captions of 32 tokens.
void print_floor(const ModelBench& bench, const ModelWork& work, const Roofline& limits, double weights,
                 double kv_element) {
  constexpr double kTokens = 32;
  const double batch = bench.max_sequences();
  const double decode = kTokens * (weights / batch + work.kv_elements * kv_element) / limits.bytes();
  const double seconds = work.vision / limits.vision + work.prefill / limits.prefill + decode;
  std::printf("# floor of captions of 32 tokens, %.0f at once: %.2f images/s\n", batch, 1 / seconds);
  bench.figures.add({.what = "caption floor",
                     .value = 1 / seconds,
                     .unit = "images/s",
                     .note = cat(batch, " at once, 32 tokens each, nothing overlapped")});
}

/// The most memory this process has had in use, as the system counts it.
double peak_resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::atof(line.c_str() + 6) * 1024;
  return 0;
}

}  // namespace

/// A shard's own time is measured; what the ranks would wait for each other is a model.
void print_shard(const ModelBench& bench, const ModelConfig& config, const Timings& timings) {
  const double rows = ModelWork(config, bench.images, bench.prompt_tokens, bench.new_tokens).rows;
  const double sums = 2 * static_cast<double>(config.text.layers) + 1,
               row_bytes = 2.0 * static_cast<double>(config.text.hidden_size);
  const auto print = [&](const std::string& what, double seconds, double rows_summed) {
    const double waits = sums * modelled_all_reduce(bench.shard_of, rows_summed * row_bytes);
    std::printf("%-22s %10.2f ms alone, %8.2f ms with modelled all-reduces\n", what.c_str(), seconds * 1e3,
                (seconds + waits) * 1e3);
    Figure f{
        .what = cat(what, ", one shard of ", bench.shard_of, " alone"), .value = seconds * 1e3, .unit = "ms"};
    f.note = cat("with modelled all-reduces ", (seconds + waits) * 1e3, " ms");
    bench.figures.add(f);
  };
  print("prefill", timings.prefill, rows * bench.prefills);
  for (const DecodeTime& d : timings.decode)
    print(cat("decode, batch ", d.sequences), d.seconds, d.sequences);
}

void print_speed(const ModelBench& bench, const ModelConfig& config, const Timings& timings,
                 const Roofline& limits, double weights, double kv_element) {
  const ModelWork work(config, bench.images, bench.prompt_tokens, bench.new_tokens);
  const Printer print(bench, limits);
  const bool gpu = !limits.on_host;
  const double vision = work.vision / bench.images * bench.tower_images(),
               prompts = work.prefill * bench.prefills;
  print.operations("vision", timings.vision, vision, limits.vision, gpu ? 0.70 : 0);
  print.operations("decoder prefill", timings.prefill, prompts, limits.prefill, gpu ? 0.88 : 0);
  if (bench.prefills == 1 && bench.tower_images() == bench.images)
    print.operations("prefill, both", timings.vision + timings.prefill, work.vision + work.prefill,
                     limits.prefill, gpu ? 0 : 0.35);
  for (const DecodeTime& d : timings.decode)
    print.bytes(d.sequences == 1 ? "decode, one token" : cat("decode, ", d.sequences, " tokens"), d.seconds,
                weights + d.sequences * work.kv_elements * kv_element,
                gpu ? decode_goal(config, d.sequences) : 0.80);
  if (timings.together)
    print.row({.what = "vision beside decode",
               .value = timings.together->both * 1e3,
               .unit = "ms",
               .share = timings.together->ratio(),
               .goal = gpu ? 1.10 : 0,
               .at_most = true,
               .note = cat("alone ", timings.together->vision * 1e3, " and ", timings.together->decode * 1e3,
                           " ms")});
  print_floor(bench, work, limits, weights, kv_element);
}

void print_memory(Communicator& comm, Engine& engine) {
  const Memory memory = engine.memory();
  const auto all = gather_texts(comm, cat(memory.weights, " ", memory.kv, " ",
                                          memory.embeddings + memory.workspace, " ", peak_resident()));
  if (comm.rank() > 0) return;
  std::printf("# memory in GB; goal: peak resident within 1.15 x planned\n");
  std::printf("%-6s %9s %9s %10s %9s %9s %7s\n", "rank", "weights", "KV", "workspace", "planned", "resident",
              "ratio");
  const auto row = [](const std::string& rank, double weights, double kv, double work, double resident) {
    const double planned = weights + kv + work;
    std::printf("%-6s %9.3f %9.3f %10.3f %9.3f %9.3f %6.2f x\n", rank.c_str(), weights / 1e9, kv / 1e9,
                work / 1e9, planned / 1e9, resident / 1e9, resident / planned);
  };
  double sum[4] = {};
  for (size_t rank = 0; rank < all.size(); ++rank) {
    double part[4] = {};
    std::sscanf(all[rank].c_str(), "%lf %lf %lf %lf", &part[0], &part[1], &part[2], &part[3]);
    row(std::to_string(rank), part[0], part[1], part[2], part[3]);
    for (int i = 0; i < 4; ++i) sum[i] += part[i];
  }
  row("all", sum[0], sum[1], sum[2], sum[3]);
}

}  // namespace lapidary
