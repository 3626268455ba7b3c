#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "configs/error.h"
#include "coordinator/command_bench.h"
#include "coordinator/command_engine.h"
#include "kernels/cpu/detect.h"
#include "kernels/cpu/probe.h"

namespace lapidary {
namespace {

struct ModelBench {
  EngineFlags flags;
  int images = 1;
  int prompt_tokens = 16;
  int new_tokens = 16;
  int repeats = 3;
  int sequences = 1;  // that decode together
};

/// Floating-point operations, two a multiply-add; every row of a prefix attends to the whole prefix.
struct Work {
  double vision, prefill, decode_bytes;
};

Work work_of(const ModelConfig& config, const ModelBench& bench, WeightTypes types) {
  const VisionConfig& v = config.vision;
  const TextConfig& t = config.text;
  const auto n = static_cast<double>(v.tokens()), c = static_cast<double>(v.hidden_size);
  const auto h = static_cast<double>(t.hidden_size), q = static_cast<double>(t.q_width());
  const double vision_layer = 4 * c * c + 2 * c * static_cast<double>(v.intermediate_size);
  const double patch = static_cast<double>(v.channels * v.patch_size * v.patch_size);
  const auto layers = static_cast<double>(v.layers);
  const double vision = 2 * n * (patch * c + layers * vision_layer + c * h) + layers * 4 * n * n * c;

  const double rows = n * bench.images + bench.prompt_tokens;
  const double decoder_layer =
      h * (2 * q + 2 * static_cast<double>(t.kv_width())) + 3 * h * static_cast<double>(t.intermediate_size);
  const double head = h * static_cast<double>(t.vocab_size), depth = static_cast<double>(t.layers);
  const double prefill = 2 * rows * depth * decoder_layer + depth * 4 * rows * rows * q + 2 * head;
  const double kv = (rows + bench.new_tokens / 2.0) * depth * 2 * static_cast<double>(t.kv_width());
  return {vision * bench.images, prefill,
          depth * decoder_layer * static_cast<double>(size_of(types.decoder)) +
              (head + bench.sequences * kv) * static_cast<double>(size_of(types.linear))};
}

/// What this rank could do at most: operations and bytes a second.
struct Limits {
  double flops, bytes;
};

/// Register-only products, and a streaming read of memory.
Limits host_limits(Backend& backend, const cpu::Isa& isa, DType dtype, const Buffer& data, size_t bytes) {
  std::memset(data.get(), 1, bytes);
  return {cpu::peak_tile_rate(backend.threads(), isa, dtype),
          cpu::read_bandwidth(backend.threads(), data.get(), bytes)};
}

/// A large product of random numbers (a chip that multiplies zeros runs faster), and a copy, of which both
/// the read and the write count.
Limits device_limits(Backend& backend, DType dtype, const Buffer& data, size_t bytes) {
  constexpr int64_t kRows = 4096, kWidth = 8192;
  std::vector<float> noise(static_cast<size_t>(kRows * kWidth));
  uint32_t state = 1;
  for (float& value : noise)
    value = static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
  Matrix w = backend.make_matrix(kWidth, kWidth, dtype, SumPlan::whole(kWidth));
  for (int64_t row = 0; row < kWidth; row += kRows)
    backend.pack(w, row, view(noise.data(), DType::f32, kRows, kWidth));
  Workspace space(backend);
  const Tensor floats = space.make(kRows, kWidth), x = space.make(kRows, kWidth, backend.operands(dtype));
  backend.copy(floats, view(noise.data(), DType::f32, kRows, kWidth));
  const std::vector<float> ones(static_cast<size_t>(kWidth), 0);
  const Buffer gain = backend.allocate(ones.size() * sizeof(float));
  backend.rms_norm(x, floats, reinterpret_cast<const float*>(gain.get()), 1e-6f);
  const Tensor y = space.make(kRows, kWidth, backend.operands(dtype));
  backend.reserve(kRows, kWidth);
  const auto seconds = [&](const auto& body) {
    body();
    backend.synchronize();
    return seconds_of([&] {
             for (int i = 0; i < 10; ++i) body();
             backend.synchronize();
           }) /
           10;
  };
  const double product = seconds([&] { backend.matmul(y, x, w); });
  const auto half = static_cast<int64_t>(bytes / 2);
  const double copy = seconds([&] {
    backend.copy(view(data.get() + half, DType::u8, 1, half), view(data.get(), DType::u8, 1, half));
  });
  return {2.0 * kRows * kWidth * kWidth / product, static_cast<double>(bytes) / copy};
}

/// The limits of all ranks together, measured by all at once.
Limits measure_limits(Communicator& comm, Engine& engine, const std::string& isa_name) {
  Backend& backend = engine.backend();
  const size_t bytes = backend.on_host() ? size_t{512} << 20 : size_t{4} << 30;
  const Buffer data = backend.allocate(bytes);
  // The best of a few tries: a limit is what the machine can do, not what a busy moment left of it.
  Limits best{0, 0};
  for (int i = 0; i < 5; ++i) {
    comm.barrier();
    const Limits mine = backend.on_host() ? host_limits(backend, cpu::choose_isa(isa_name),
                                                        engine.types().linear, data, bytes)
                                          : device_limits(backend, engine.types().linear, data, bytes);
    Limits sum{0, 0};
    for (const std::string& text : gather_texts(comm, cat(mine.flops, " ", mine.bytes))) {
      Limits rank{};
      std::sscanf(text.c_str(), "%lf %lf", &rank.flops, &rank.bytes);
      sum.flops += rank.flops;
      sum.bytes += rank.bytes;
    }
    best = {std::max(best.flops, sum.flops), std::max(best.bytes, sum.bytes)};
  }
  return best;
}

std::string noise_image(const ModelConfig& config, int index) {
  std::string rgb(static_cast<size_t>(config.vision.image_size * config.vision.image_size * 3), '\0');
  uint32_t state = static_cast<uint32_t>(index) + 1;
  for (char& byte : rgb) byte = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
  return rgb;
}

/// Sequences of one prompt, noise images and arbitrary text, in KV pages of their own. Without `images` there
/// is text in their place: as many rows.
wire::Step prefill_step(const ModelConfig& config, const ModelBench& bench, const Capacity& capacity,
                        int sequences, bool images = true, int first = 0) {
  wire::Step step;
  const int64_t pages = capacity.pages / capacity.sequences;
  for (int s = first; s < first + sequences; ++s) {
    wire::Prefill& prefill = *step.add_prefills();
    prefill.set_sequence(s);
    for (int i = 0; images && i < bench.images; ++i) {
      prefill.add_images()->set_rgb(noise_image(config, i));
      prefill.add_ids(static_cast<int32_t>(config.image_token_id));
    }
    const int64_t text = bench.prompt_tokens + (images ? 0 : bench.images * config.vision.tokens());
    for (int64_t i = 0; i < text; ++i) prefill.add_ids(static_cast<int32_t>(4 + i * 37 % 200));
    for (int64_t p = 0; p < pages; ++p) prefill.add_pages(static_cast<int32_t>(s * pages + p));
  }
  return step;
}

/// Runs the prefills of `first`, then decodes all of its sequences; the seconds of each decode step.
std::vector<double> generate(Engine& engine, const wire::Step& first, int tokens,
                             std::vector<std::vector<int32_t>>& generated) {
  std::vector<double> seconds;
  wire::Step step;
  for (const wire::Prefill& prefill : first.prefills()) step.add_decodes(prefill.sequence());
  generated.assign(static_cast<size_t>(step.decodes_size()), {});
  wire::StepDone done = engine.lead(first);
  for (int t = 0; t < tokens; ++t) {
    for (int s = 0; s < done.tokens_size(); ++s) generated[static_cast<size_t>(s)].push_back(done.tokens(s));
    seconds.push_back(seconds_of([&] { done = engine.lead(step); }));
  }
  return seconds;
}

struct Timings {
  double vision, prefill, decode;  // seconds
};

/// A decode step of bench.sequences, which are prefilled one after the other.
double time_decode(const ModelBench& bench, const ModelConfig& config, Engine& engine) {
  wire::Step step;
  for (int s = 0; s < bench.sequences; ++s) {
    engine.lead(prefill_step(config, bench, engine.capacity(), 1, false, s));
    step.add_decodes(s);
  }
  std::vector<double> seconds;
  for (int t = 0; t < bench.new_tokens; ++t) seconds.push_back(seconds_of([&] { engine.lead(step); }));
  return median(seconds);
}

Timings lead_bench(const ModelBench& bench, const ModelConfig& config, Engine& engine) {
  const Capacity& capacity = engine.capacity();
  std::vector<std::vector<int32_t>> alone, pair;
  generate(engine, prefill_step(config, bench, capacity, 1), 3, alone);
  generate(engine, prefill_step(config, bench, capacity, 2), 3, pair);
  if (pair.at(0) != alone.at(0) || pair.at(1) != alone.at(0))
    fail("the check failed: the same prompt gave other tokens in a batch of two than alone");

  const wire::Step text = prefill_step(config, bench, capacity, 1, false);
  Timings timings{};
  timings.prefill = median_seconds(bench.repeats, [&] { engine.lead(text); });
  timings.decode = time_decode(bench, config, engine);
  wire::Step stop;
  stop.set_stop(true);
  engine.lead(stop);
  return timings;
}

/// The vision tower alone, on every rank at once.
double time_vision(const ModelBench& bench, const ModelConfig& config, Engine& engine) {
  std::vector<std::string> images;
  std::vector<const uint8_t*> pixels;
  for (int i = 0; i < bench.images; ++i) images.push_back(noise_image(config, i));
  for (const std::string& rgb : images) pixels.push_back(reinterpret_cast<const uint8_t*>(rgb.data()));
  std::array<float, 256> value_of{};
  for (size_t i = 0; i < value_of.size(); ++i) value_of[i] = static_cast<float>(i) / 127.5f - 1;
  Workspace space(engine.backend());
  const Tensor out = space.make(bench.images * config.vision.tokens(), config.text.hidden_size);
  return median_seconds(bench.repeats, [&] {
    engine.model().encode(out, pixels, value_of.data());
    engine.backend().synchronize();
  });
}

void print_speed(const Timings& timings, const Work& work, const Limits& limits, const ModelBench& bench,
                 bool on_host) {
  const auto row = [&](const char* what, double seconds, double amount, double limit, const char* unit,
                       double goal) {
    std::printf("%-22s %10.1f %12.1f %-8s %8.1f %%   %s\n", what, seconds * 1e3, amount / seconds / 1e9, unit,
                100 * amount / seconds / limit, goal > 0 ? cat("goal ", goal, " %").c_str() : "");
  };
  std::printf("# limits in this run: %.1f GFLOP/s %s, %.1f GB/s %s\n", limits.flops / 1e9,
              on_host ? "register-only" : "of a large product", limits.bytes / 1e9,
              on_host ? "streaming read" : "copied (read and write)");
  std::printf("%-22s %10s %12s %-8s %10s\n", "part", "ms", "rate", "", "of limit");
  row("vision", timings.vision, work.vision, limits.flops, "GFLOP/s", 0);
  row("decoder prefill", timings.prefill, work.prefill, limits.flops, "GFLOP/s", 0);
  row("prefill, both", timings.vision + timings.prefill, work.vision + work.prefill, limits.flops, "GFLOP/s",
      on_host ? 35 : 88);
  const std::string decode =
      bench.sequences == 1 ? "decode, one token" : cat("decode, ", bench.sequences, " tokens");
  row(decode.c_str(), timings.decode, work.decode_bytes, limits.bytes, "GB/s", on_host ? 80 : 88);
}

/// The most memory this process has had in use, as the system counts it.
double peak_resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::atof(line.c_str() + 6) * 1024;
  return 0;
}

/// A row a rank, and all together: what was allocated at start beside what the system counted at most.
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

int run_model(ModelBench bench) {
  const auto comm = start_ranks(bench.flags, "bench model");
  const ModelConfig config = read_model_config(bench.flags.engine.model);
  EngineOptions& options = bench.flags.engine;
  options.max_num_seqs = std::max(2, bench.sequences);
  options.shared_vision = true;
  options.max_model_len = config.vision.tokens() * bench.images + bench.prompt_tokens + bench.new_tokens + 8;
  options.max_num_batched_tokens = 2 * options.max_model_len;
  Engine engine(options, config, one_stage(*comm));
  Timings timings{};
  if (comm->rank() == 0) {
    std::printf("# %s: %d image(s) of %lld px, %d prompt tokens; %s\n", options.model.filename().c_str(),
                bench.images, static_cast<long long>(config.vision.image_size), bench.prompt_tokens,
                engine.describe().c_str());
    timings = lead_bench(bench, config, engine);
  } else {
    engine.follow();
  }
  timings.vision = time_vision(bench, config, engine);
  print_memory(*comm, engine);  // before the limits, whose data would count
  const Limits limits = measure_limits(*comm, engine, options.isa);
  if (comm->rank() == 0)
    print_speed(timings, work_of(config, bench, engine.types()), limits, bench, engine.backend().on_host());
  return 0;
}

}  // namespace

void add_bench_model(CLI::App& bench, Chosen& chosen) {
  auto options = std::make_shared<ModelBench>();
  CLI::App& command = *bench.add_subcommand("model", "End to end: vision, prefill and decode of one prompt");
  add_engine_flags(command, options->flags);
  command.add_option("--images", options->images, "Images in the prompt")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  command.add_option("--prompt-tokens", options->prompt_tokens, "Text tokens in the prompt")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--new-tokens", options->new_tokens, "Decode steps that are timed")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--repeats", options->repeats, "Timed runs of each part")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--sequences", options->sequences, "Sequences that decode together")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  when_named(command, chosen, [options] { return run_model(*options); });
}

}  // namespace lapidary
