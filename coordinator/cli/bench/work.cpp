#include "coordinator/cli/bench/work.h"

#include <cstring>

#include "configs/error.h"
#include "coordinator/cli/bench/bench.h"
#include "kernels/cpu/isa/detect.h"
#include "kernels/cpu/probe.h"
#include "kernels/device_probe.h"
#include "worker/lanes/decoder_lane.h"

namespace lapidary {
namespace {

constexpr int kTries = 5;

/// The best of a few tries: a limit is what the machine can do, not what a busy moment left of it.
Roofline host_roofline(Communicator& comm, Backend& backend, DType dtype, const std::string& isa_name) {
  const size_t bytes = size_t{512} << 20;
  const Buffer data = backend.allocate(bytes);
  std::memset(data.get(), 1, bytes);
  const cpu::Isa& isa = cpu::choose_isa(isa_name);
  Roofline best;
  for (int i = 0; i < kTries; ++i) {
    comm.barrier();
    best.prefill = std::max(best.prefill, cpu::peak_tile_rate(backend.threads(), isa, dtype));
    best.read = std::max(best.read, cpu::read_bandwidth(backend.threads(), data.get(), bytes));
  }
  best.vision = best.prefill;
  return best;
}

/// Operations a second over products in the model's proportions.
double library_rate(Backend& backend, const std::vector<ProductShape>& shapes, int64_t rows) {
  double operations = 0, seconds = 0;
  for (const ProductShape& shape : shapes) {
    operations += shape.count * 2 * static_cast<double>(rows) * static_cast<double>(shape.out) *
                  static_cast<double>(shape.in);
    seconds += shape.count * library_product_seconds(backend, rows, shape.out, shape.in);
  }
  return operations / seconds;
}

Roofline device_roofline(Communicator& comm, Backend& backend, const ModelConfig& config, int64_t rows,
                         int64_t vision_rows) {
  const size_t bytes = std::min<size_t>(size_t{8} << 30, backend.free_memory() / 2);
  comm.barrier();
  const DeviceRates rates = measure_device(backend, bytes);
  Roofline limits;
  limits.on_host = false;
  limits.read = rates.read;
  limits.copy = rates.copy;
  limits.prefill = library_rate(backend, decoder_products(config), rows);
  limits.vision = library_rate(backend, vision_products(config), vision_rows);
  return limits;
}

}  // namespace

ModelWork::ModelWork(const ModelConfig& config, int images, int prompt_tokens, int new_tokens) {
  const VisionConfig& v = config.vision;
  const TextConfig& t = config.text;
  const auto n = static_cast<double>(v.tokens()), c = static_cast<double>(v.hidden_size);
  const auto h = static_cast<double>(t.hidden_size), q = static_cast<double>(t.q_width());
  const double vision_layer = 4 * c * c + 2 * c * static_cast<double>(v.intermediate_size);
  const double patch = static_cast<double>(v.channels * v.patch_size * v.patch_size);
  const auto layers = static_cast<double>(v.layers);
  vision = images * (2 * n * (patch * c + layers * vision_layer + c * h) + layers * 4 * n * n * c);

  rows = n * images + prompt_tokens;
  const double decoder_layer =
      h * (2 * q + 2 * static_cast<double>(t.kv_width())) + 3 * h * static_cast<double>(t.intermediate_size);
  const double head = h * static_cast<double>(t.vocab_size), depth = static_cast<double>(t.layers);
  // Every row of a prefix attends to the whole prefix; the head sees its last row alone.
  prefill = 2 * rows * depth * decoder_layer + depth * 4 * rows * rows * q + 2 * head;
  kv_elements = (rows + new_tokens / 2.0) * depth * 2 * static_cast<double>(t.kv_width());
}

std::vector<ProductShape> decoder_products(const ModelConfig& config) {
  const TextConfig& t = config.text;
  const auto layers = static_cast<double>(t.layers);
  return {{t.q_width() + 2 * t.kv_width(), t.hidden_size, layers},
          {t.hidden_size, t.q_width(), layers},
          {2 * t.intermediate_size, t.hidden_size, layers},
          {t.hidden_size, t.intermediate_size, layers}};
}

std::vector<ProductShape> vision_products(const ModelConfig& config) {
  const VisionConfig& v = config.vision;
  const auto layers = static_cast<double>(v.layers);
  return {{3 * v.hidden_size, v.hidden_size, layers},
          {v.hidden_size, v.hidden_size, layers},
          {v.intermediate_size, v.hidden_size, layers},
          {v.hidden_size, v.intermediate_size, layers}};
}

Roofline measure_roofline(Communicator& comm, Backend& backend, const ModelConfig& config, DType dtype,
                          const std::string& isa, int64_t rows, int64_t vision_rows) {
  const Roofline mine = backend.on_host() ? host_roofline(comm, backend, dtype, isa)
                                          : device_roofline(comm, backend, config, rows, vision_rows);
  Roofline sum;
  sum.on_host = mine.on_host;
  for (const std::string& text :
       gather_texts(comm, cat(mine.prefill, " ", mine.vision, " ", mine.read, " ", mine.copy))) {
    Roofline rank;
    std::sscanf(text.c_str(), "%lf %lf %lf %lf", &rank.prefill, &rank.vision, &rank.read, &rank.copy);
    sum.prefill += rank.prefill;
    sum.vision += rank.vision;
    sum.read += rank.read;
    sum.copy += rank.copy;
  }
  return sum;
}

double decode_goal(const ModelConfig& config, int sequences) {
  if (sequences > 1) return 0.88;
  const int64_t hidden = config.text.hidden_size;
  return hidden >= 4608 ? 0.92 : hidden >= 3584 ? 0.88 : 0.78;  // the smaller, the more its launches weigh
}

void run_decodes(Engine& engine, wire::Step step, int64_t count) {
  SpanRecorder spans(false);
  const uint64_t last = engine.last_step();
  DecoderLane lane(
      engine, spans, [](const wire::StepDone&) {}, last);
  for (int64_t i = 1; i <= count; ++i) {
    step.set_number(last + static_cast<uint64_t>(i));
    lane.add(step);
  }
  lane.finish();
  lane.run();
}

std::string noise_image(const ModelConfig& config, int index) {
  std::string rgb(static_cast<size_t>(config.vision.image_size * config.vision.image_size * 3), '\0');
  uint32_t state = static_cast<uint32_t>(index) + 1;
  for (char& byte : rgb) byte = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
  return rgb;
}

}  // namespace lapidary
