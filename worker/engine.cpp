#include "worker/engine.h"

#include <algorithm>
#include <cstdlib>

#include "configs/error.h"
#include "configs/processor_config.h"
#include "sharding/checkpoint.h"
#include "sharding/dummy_weights.h"
#include "sharding/model_tensors.h"
#include "worker/image.h"
#include "worker/memory_plan.h"
#include "worker/sampler.h"

namespace lapidary {
namespace {

std::unique_ptr<TensorSource> open_weights(const EngineOptions& options, const ModelConfig& config) {
  if (options.load_format == "dummy") return std::make_unique<DummyWeights>(config);
  if (options.load_format == "auto") return std::make_unique<Checkpoint>(options.model);
  fail("--load-format is auto or dummy, not '", options.load_format, "'");
}

/// The cores of this process, shared with the launcher's other ranks on this host where all were given the
/// same ones.
int default_threads() {
  const int cores = available_cores();
  const int ranks = ranks_on_host();
  const char* bound = std::getenv("OMPI_MCA_orte_bound_at_launch");
  return bound != nullptr ? cores : std::max(1, cores / ranks);
}

}  // namespace

Capacity fit_capacity(const EngineOptions& options, const ModelConfig& config) {
  const int64_t tokens = config.vision.tokens();
  const int64_t longest = config.text.max_position_embeddings;
  Capacity capacity;
  capacity.sequences = options.max_num_seqs;
  if (capacity.sequences < 1) fail("--max-num-seqs is ", capacity.sequences, ", at least 1 is needed");
  capacity.length = options.max_model_len > 0 ? options.max_model_len : std::min(longest, tokens + 128 + 256);
  if (capacity.length > longest)
    fail("--max-model-len is ", capacity.length, ", the model was made for ", longest,
         " (max_position_embeddings)");
  if (capacity.length <= tokens)
    fail("--max-model-len is ", capacity.length, ", one image alone takes ", tokens, " tokens");
  capacity.rows = options.max_num_batched_tokens > 0 ? options.max_num_batched_tokens
                                                     : std::max<int64_t>(2048, capacity.length);
  if (capacity.rows < capacity.length)
    fail("--max-num-batched-tokens is ", capacity.rows, ", but a prefix is never cut and may have ",
         capacity.length, " tokens (--max-model-len)");
  capacity.slots = options.max_images > 0 ? options.max_images : capacity.sequences;
  capacity.images = std::clamp<int64_t>(2048 / tokens, 1, capacity.slots);
  const int64_t pages = (capacity.length + KvShape::kPageTokens - 1) / KvShape::kPageTokens;
  capacity.pages = capacity.sequences * pages;
  return capacity;
}

struct Engine::Parts {
  Parts(const EngineOptions& options, const ModelConfig& given, Communicator& group)
      : comm(group),
        threads(options.threads > 0 ? options.threads : default_threads()),
        backend(make_cpu_backend(threads, options.isa)),
        profile(numerics_profile(options.profile)),
        config(given),
        dtype(resolve_dtype(options.dtype, given)),
        capacity(fit_capacity(options, given)),
        source(open_weights(options, given)) {
    const ProcessorConfig processor = read_processor_config(options.model, config);
    value_of = normalise_table(static_cast<float>(processor.mean), static_cast<float>(processor.std),
                               processor.rescale);
    fit_to_weights(config, *source);
    const ShardPlan plan = PaliGemma::plan_for(config, comm.rank(), comm.size());
    check_memory(plan_memory(config, plan, capacity, dtype, *backend), ranks_on_host(), available_memory());
  }

  void load(const Progress& progress) {
    const int64_t total = parameters(config).total() * static_cast<int64_t>(size_of(dtype)) / comm.size();
    WeightStore weights(*source, *backend, dtype, [&](int64_t bytes) {
      if (progress) progress(std::min(bytes, total), total);
    });
    model.emplace(config, profile, weights, Rank{*backend, comm}, capacity);
    source.reset();
    // The widest rows any product reads or writes as an operand.
    const VisionConfig& v = config.vision;
    const int64_t rows = std::max(capacity.rows, capacity.images * v.tokens());
    backend->reserve(rows,
                     std::max({config.text.hidden_size, config.text.q_width(), v.hidden_size,
                               model->plan().vision.ffn.size(), v.channels * v.patch_size * v.patch_size}));
    scratch_bytes = backend->reserve(std::min<int64_t>(rows, 512), model->plan().decoder.ffn.size());
    if (progress) progress(total, total);
  }

  Communicator& comm;
  ThreadPool threads;
  std::unique_ptr<Backend> backend;
  NumericsProfile profile;
  ModelConfig config;
  DType dtype;
  Capacity capacity;
  std::unique_ptr<TensorSource> source;  // until the weights are packed
  std::array<float, 256> value_of{};
  std::optional<PaliGemma> model;
  size_t scratch_bytes = 0;
};

Engine::Engine(const EngineOptions& options, const ModelConfig& config, Communicator& comm,
               const Progress& progress) {
  // Everyone looks at what memory there is before anyone takes it.
  agree(comm, [&] { parts_ = std::make_unique<Parts>(options, config, comm); });
  agree(comm, [&] { parts_->load(progress); });
}

Engine::~Engine() = default;

PaliGemma& Engine::model() { return *parts_->model; }
PaliGemma::Memory Engine::memory() const {
  PaliGemma::Memory memory = parts_->model->memory();
  memory.workspace += parts_->scratch_bytes;
  return memory;
}

Backend& Engine::backend() { return *parts_->backend; }

DType Engine::dtype() const { return parts_->dtype; }

std::string Engine::describe() const {
  const int threads = parts_->threads.size();
  return cat(parts_->backend->name(), ", ", name_of(parts_->dtype), ", ", threads,
             threads == 1 ? " thread" : " threads",
             parts_->comm.size() > 1 ? cat(" on each of ", parts_->comm.size(), " ranks") : "");
}

wire::StepDone Engine::lead(const wire::Step& step, const Probe& probe) {
  Communicator& comm = parts_->comm;
  if (comm.size() > 1) {
    std::string bytes = step.SerializeAsString();
    uint64_t size = bytes.size();
    comm.broadcast(reinterpret_cast<std::byte*>(&size), sizeof(size), 0);
    comm.broadcast(reinterpret_cast<std::byte*>(bytes.data()), bytes.size(), 0);
  }
  return run(step, probe);
}

void Engine::follow() {
  Communicator& comm = parts_->comm;
  wire::Step step;
  std::string bytes;
  do {
    uint64_t size = 0;
    comm.broadcast(reinterpret_cast<std::byte*>(&size), sizeof(size), 0);
    bytes.resize(size);
    comm.broadcast(reinterpret_cast<std::byte*>(bytes.data()), bytes.size(), 0);
    if (!step.ParseFromString(bytes)) throw std::logic_error("a step that cannot be read");
    run(step, {});
  } while (!step.stop());
}

void Engine::report_whole(Tensor logits, const Probe& probe) {
  Communicator& comm = parts_->comm;
  const int64_t rows = logits.rows(), vocab = parts_->model->config().text.vocab_size;
  std::vector<size_t> sizes;
  for (int r = 0; r < comm.size(); ++r) {
    const Range slice = PaliGemma::plan_for(parts_->model->config(), r, comm.size()).vocab;
    sizes.push_back(static_cast<size_t>(rows * slice.size()) * sizeof(float));
  }
  std::vector<float> slices(static_cast<size_t>(rows * vocab)), whole(slices.size());
  const std::span mine(logits.row<float>(0), static_cast<size_t>(rows * logits.cols()));
  comm.all_gather(reinterpret_cast<std::byte*>(slices.data()), std::as_bytes(mine), sizes);
  const float* from = slices.data();
  int64_t first = 0;
  for (size_t bytes : sizes) {
    const int64_t cols = static_cast<int64_t>(bytes / sizeof(float)) / rows;
    for (int64_t r = 0; r < rows; ++r, from += cols)
      std::copy(from, from + cols, whole.data() + r * vocab + first);
    first += cols;
  }
  report(probe, "logits", view(whole.data(), DType::f32, rows, vocab));
}

wire::StepDone Engine::run(const wire::Step& step, const Probe& probe) {
  wire::StepDone done;
  PaliGemma& model = *parts_->model;
  std::vector<const uint8_t*> images;
  std::vector<int32_t> slots;
  for (const wire::Encode& encode : step.encodes()) {
    images.push_back(reinterpret_cast<const uint8_t*>(encode.rgb().data()));
    slots.push_back(encode.slot());
  }
  if (!images.empty()) model.encode(images, slots, parts_->value_of.data(), probe);
  if (step.rows().empty()) return done;

  std::vector<SequenceRows> sequences;
  std::vector<SampleSpec> specs;
  for (const wire::Rows& rows : step.rows()) {
    const auto span_of = [](const auto& field) {
      return std::span(field.data(), static_cast<size_t>(field.size()));
    };
    sequences.push_back(
        {span_of(rows.ids()), rows.position(), rows.prefix(), span_of(rows.pages()), span_of(rows.slots())});
    const wire::Sampling& s = rows.sampling();
    specs.push_back({s.temperature(), s.top_k(), s.top_p() > 0 ? s.top_p() : 1.0f, s.seed(),
                     rows.position() + rows.ids_size()});
  }
  const Tensor logits = model.forward(sequences, probe);
  if (step.gather_logits()) report_whole(logits, probe);
  const auto tokens = sample({*parts_->backend, parts_->comm}, logits, model.plan().vocab.begin, specs);
  done.mutable_tokens()->Add(tokens.begin(), tokens.end());
  return done;
}

}  // namespace lapidary
