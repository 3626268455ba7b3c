#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>

#include "configs/error.h"
#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/bench/report.h"
#include "coordinator/cli/engine.h"
#include "coordinator/cli/option_table.h"
#include "sharding/checkpoint/dummy_weights.h"
#include "sharding/checkpoint/model_tensors.h"
#include "sharding/checkpoint/safetensors.h"
#include "sharding/checkpoint/weight_store.h"
#include "worker/engine/device.h"
#include "worker/engine/memory_plan.h"

namespace lapidary {
namespace {

struct LoadBench {
  EngineFlags flags;
  FigureFile figures;
  std::filesystem::path save;  // folder for made weights; empty: none
  int repeats = 3;
};

struct Loaded {
  std::vector<std::pair<std::string, Matrix>> matrices;
  std::vector<std::pair<std::string, Vector>> vectors;
};

/// The names of the model's tensors, once it fits the source.
std::vector<std::string> weights_of(ModelConfig config, TensorSource& source) {
  fit_to_weights(config, source);
  std::vector<std::string> names;
  for (const TensorSpec& spec : model_tensors(config)) names.push_back(spec.name);
  return names;
}

/// Every one of these tensors, whole.
Loaded load_all(TensorSource& source, const std::vector<std::string>& names, Backend& backend, DType dtype) {
  Loaded loaded;
  WeightStore weights(source, backend, dtype);
  for (const std::string& name : names) {
    const auto [rows, cols] = matrix_shape(source.shape_of(name));
    if (rows > 1) {
      loaded.matrices.emplace_back(name, weights.matrix({Slice::whole(name, rows, cols)}));
    } else {
      loaded.vectors.emplace_back(name, weights.vector(name, cols));
    }
  }
  weights.finish();
  return loaded;
}

/// The model's made weights as a checkpoint of bfloat16 in a folder, so that there is one of any size to
/// read.
void save_made(const ModelConfig& config, const std::filesystem::path& folder, ThreadPool& threads) {
  DummyWeights made(config);
  std::vector<std::vector<uint16_t>> values;
  std::vector<NamedTensor> tensors;
  for (const std::string& name : made.names()) {
    const auto [rows, cols] = matrix_shape(made.shape_of(name));
    std::vector<uint16_t>& of_tensor = values.emplace_back(static_cast<size_t>(rows * cols));
    threads.parallel_for(rows, 1, [&, cols = cols](int64_t begin, int64_t end) {
      made.read_bf16(name, {begin, end}, {0, cols}, of_tensor.data() + begin * cols);
    });
    tensors.push_back({name, StoredType::bf16, made.shape_of(name), of_tensor.data()});
  }
  std::filesystem::create_directories(folder);
  write_safetensors(folder / "model.safetensors", tensors);
}

double stored_bytes(const TensorSource& source, const std::vector<std::string>& names) {
  double bytes = 0;
  for (const std::string& name : names)
    bytes += static_cast<double>(element_count(source.shape_of(name)).value_or(0)) *
             static_cast<double>(size_of(source.stored_dtype(name)));
  return bytes;
}

void expect_same(const std::string& name, int64_t row, const std::vector<float>& given,
                 const std::vector<float>& held) {
  if (std::memcmp(given.data(), held.data(), given.size() * sizeof(float)) != 0)
    fail("the check failed: row ", row, " of tensor ", name, " is not what was read");
}

/// Rows of each tensor, evenly spread, against the source; how many.
int64_t check_rows(const Loaded& loaded, TensorSource& source, Backend& backend) {
  constexpr int64_t kMax = 32;
  int64_t checked = 0;
  std::vector<float> given, held;
  for (const auto& [name, w] : loaded.matrices) {
    given.resize(static_cast<size_t>(w.in));
    held.resize(given.size());
    const int64_t count = std::min(kMax, w.out);
    for (int64_t i = 0; i < count; ++i, ++checked) {
      const int64_t row = count == 1 ? 0 : i * (w.out - 1) / (count - 1);
      source.read(name, {row, row + 1}, {0, w.in}, given.data());
      if (w.dtype == DType::bf16)
        for (float& value : given) value = from_bf16(to_bf16(value));
      backend.unpack_row(w, row, held.data());
      expect_same(name, row, given, held);
    }
  }
  for (const auto& [name, v] : loaded.vectors) {
    given.resize(static_cast<size_t>(v.size));
    held.resize(given.size());
    source.read(name, {0, 1}, {0, v.size}, given.data());
    backend.copy(view(held.data(), DType::f32, 1, v.size),
                 view(const_cast<float*>(v.get()), DType::f32, 1, v.size));
    expect_same(name, 0, given, held);
    ++checked;
  }
  return checked;
}

/// Bytes a second from pinned memory to the device, in pieces as weights are loaded.
double pinned_copy_rate(Backend& backend, WeightLoader& loader) {
  constexpr int64_t kRows = 1 << 16, kCols = 8192;
  const Matrix w = backend.make_matrix(kRows, kCols, DType::bf16, SumPlan::whole(kCols));
  const int64_t step = loader.mlp_chunk_rows(kCols, DType::bf16);
  const double seconds = median_seconds(3, [&] {
    std::atomic<int64_t> next{0};
    backend.threads().run([&](int) {
      for (int64_t row = next.fetch_add(step); row < kRows; row = next.fetch_add(step))
        loader.load(loader.rows_of(w).row_range(row, std::min(row + step, kRows)), DType::bf16,
                    [](std::byte*) {});
    });
    loader.finish();
  });
  return static_cast<double>(w.bytes) / seconds;
}

/// Bytes a second that all threads together copy.
double host_copy_rate(Backend& backend) {
  constexpr int64_t kBytes = int64_t{256} << 20;
  const Buffer from = backend.allocate(kBytes), to = backend.allocate(kBytes);
  std::memset(from.get(), 1, kBytes);
  const double seconds = median_seconds(5, [&] {
    backend.threads().parallel_for(kBytes, 1 << 20, [&](int64_t begin, int64_t end) {
      std::memcpy(to.get() + begin, from.get() + begin, static_cast<size_t>(end - begin));
    });
  });
  return kBytes / seconds;
}

int run_load(const LoadBench& bench) {
  constexpr double kGoal = 0.75;  // of what the bus carries
  EngineOptions options = bench.flags.engine;
  const ModelConfig config = read_model_config(options.model);
  const DType dtype = resolve_dtype(options.dtype, config);
  ThreadPool threads(decoder_threads(options));
  if (!bench.save.empty()) {
    save_made(config, bench.save, threads);
    options.model = bench.save;
    options.load_format = LoadFormat::automatic;
  }
  const auto backend = make_backend(options, threads);
  double bytes = 0;
  const auto load = [&](const auto& then) {
    const auto source = open_weights(options, config);
    const auto names = weights_of(config, *source);
    bytes = stored_bytes(*source, names);
    Loaded loaded;
    const double seconds = seconds_of([&] { loaded = load_all(*source, names, *backend, dtype); });
    then(loaded, *source);
    return seconds;
  };
  int64_t checked = 0;
  load([&](const Loaded& loaded, TensorSource& source) { checked = check_rows(loaded, source, *backend); });
  std::vector<double> times;
  for (int i = 0; i < bench.repeats; ++i) times.push_back(load([](const Loaded&, TensorSource&) {}));
  const double rate = bytes / median(times);
  const auto loader = backend->make_loader();
  const double limit = loader ? pinned_copy_rate(*backend, *loader) : host_copy_rate(*backend);
  std::printf("# %s: %.2f GB as stored, held in %s; %s, %d thread%s; %ld rows checked\n",
              options.model.filename().c_str(), bytes / 1e9, name_of(dtype), backend->name().c_str(),
              threads.size(), threads.size() == 1 ? "" : "s", static_cast<long>(checked));
  std::printf("%-22s %10.1f ms %8.2f GB/s %8.1f %% of %.2f GB/s, %s%s\n", "load", median(times) * 1e3,
              rate / 1e9, 100 * rate / limit, limit / 1e9,
              loader ? "the copy from pinned memory" : "memory copied by all threads",
              loader ? cat("; goal ", 100 * kGoal, " %").c_str() : "");
  bench.figures.add({.what = "load from page cache",
                     .value = median(times) * 1e3,
                     .unit = "ms",
                     .rate = rate / 1e9,
                     .limit = limit / 1e9,
                     .rate_unit = "GB/s",
                     .limit_name = loader ? "copy from pinned memory" : "memory copied",
                     .share = rate / limit,
                     .goal = loader ? kGoal : 0,
                     .note = cat(bytes / 1e9, " GB")});
  return 0;
}

}  // namespace

void add_bench_load(CLI::App& bench, SelectedCommand& chosen) {
  auto options = std::make_shared<LoadBench>();
  CLI::App& command = *bench.add_subcommand(
      "load", "A checkpoint's weights into memory, from the system's page cache; all of them on one rank");
  add_engine_flags(command, options->flags);
  command.add_option("--save", options->save,
                     "First write made weights of the model's shapes to this folder (--model may then be a "
                     "config file), then load those");
  command.add_option("--repeats", options->repeats, "Timed runs")
      ->check(between(1, 1000))
      ->capture_default_str();
  add_figure_flags(command, options->figures);
  when_selected(command, chosen, [options] { return run_load(*options); });
}

}  // namespace lapidary
