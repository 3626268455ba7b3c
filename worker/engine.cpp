#include "worker/engine.h"

#include <algorithm>
#include <array>
#include <optional>

#include "configs/error.h"
#include "configs/processor_config.h"
#include "sharding/dummy_weights.h"
#include "sharding/model_tensors.h"
#include "worker/device.h"
#include "worker/device_memory.h"
#include "worker/image.h"
#include "worker/step_runner.h"
#include "worker/vision_tower.h"

namespace lapidary {
namespace {

/// A probe hears of float32 in host memory, wherever the tensors are and whatever their dtype.
Probe fetched(Backend& backend, const Probe& probe) {
  return [&backend, &probe](const std::string& name, Tensor value) {
    const auto size = static_cast<size_t>(value.rows() * value.cols());
    std::vector<float> floats(size);
    const Tensor whole = view(floats.data(), DType::f32, value.rows(), value.cols());
    if (value.dtype == DType::f32) {
      backend.copy(whole, value);
    } else {
      std::vector<uint16_t> halves(size);
      backend.copy(view(halves.data(), DType::bf16, value.rows(), value.cols()), value);
      std::transform(halves.begin(), halves.end(), floats.begin(), from_bf16);
    }
    probe(name, whole);
  };
}

}  // namespace

struct Engine::Parts {
  Parts(const EngineOptions& options, const ModelConfig& given, const Group& where, const Rescue& rescue)
      : threads(where.place.decodes() ? decoder_threads(options) : 1),
        backend(make_backend(options, threads)),
        watchdog(rescue, [this] { return backend->moved_on(); }),
        replica(make_device_comm(where.replica, *backend, watchdog, options)),
        tp(make_device_comm(where.tp, *backend, watchdog, options)),
        group{replica ? *replica : where.replica, tp ? *tp : where.tp, where.mesh, where.place},
        profile(numerics_profile(options.profile)),
        config(given),
        types(resolve_types(options, given)),
        capacity(fit_capacity(options, given, where.mesh)),
        shared_vision(options.shared_vision),
        source(open_weights(options, given)) {
    const ProcessorConfig processor = read_processor_config(options.model, config);
    value_of = normalise_table(static_cast<float>(processor.mean), static_cast<float>(processor.std),
                               processor.rescale);
    fit_to_weights(config, *source);
    plan = PaliGemma::plan_for(config, group.place.tp_rank, group.mesh.tp);
    share = share_of(config, group.mesh, group.place, options.pp_layers, shared_vision);
    if (backend->on_host()) {
      check_memory(plan_memory(config, plan, share, sees(), capacity, types, *backend), ranks_on_host(),
                   available_memory());
    } else {
      check_device(options);
    }
  }

  /// Whether a vision lane shares the memory.
  bool sees() const { return !shared_vision && has_vision_lane(group.mesh, group.place); }

  /// What a GPU has to give to both lanes. Scratch is taken before it is looked at, the rest is counted.
  void check_device(const EngineOptions& options) {
    reserve_scratch();
    DeviceNeed need{plan_memory(config, plan, share, sees(), capacity, types, *backend)};
    const size_t all = count_device();
    // Rows are padded, too.
    need.planned.workspace = all - std::min(all, need.planned.total());
    if (sees()) need.lane = vision_scratch(options, config, capacity.images, *backend);
    const size_t free = backend->free_memory();
    // Graphs and NCCL's channels, in round numbers; of a small device little is asked.
    need.later = std::min<size_t>((group.replica.size() > 1 ? size_t{768} : size_t{256}) << 20, free / 32);
    check_device_memory(need, free, backend->name(), options, group.mesh.tp,
                        [&](const EngineOptions& other, int ranks) {
                          Mesh mesh = group.mesh;
                          mesh.tp = ranks;
                          const Capacity fewer = fit_capacity(other, config, mesh);
                          return plan_memory(config, PaliGemma::plan_for(config, 0, ranks), share, sees(),
                                             fewer, types, *backend);
                        });
  }

  /// Bytes that the parts of both lanes allocate: they are built, and nothing of them is kept.
  size_t count_device() {
    DummyWeights made(config);
    backend->begin_plan();
    try {
      WeightStore weights(made, *backend, types);
      std::optional<PaliGemma> part;
      if (group.place.decodes())
        part.emplace(config, profile, weights, Rank{*backend, group.tp}, capacity, share);
      const StepRunner steps(*backend, group, StepLimits{config, capacity, group.mesh, shared_vision}, share,
                             part ? &*part : nullptr, value_of.data());
      if (sees()) count_lane(weights);
    } catch (...) {
      backend->end_plan();
      throw;
    }
    return backend->end_plan();
  }

  void count_lane(WeightStore& weights) {
    const auto alone = make_solo();
    const int64_t hidden = config.text.hidden_size, tokens = config.vision.tokens();
    const Siglip tower(config.vision, hidden, weights, PaliGemma::plan_for(config, 0, 1).vision,
                       Rank{*backend, *alone}, capacity.images);
    const EmbeddingSlots slots(*backend, capacity.slots, tokens, hidden);
    backend->allocate(static_cast<size_t>(capacity.images * tokens * hidden) *
                      sizeof(float));  // VisionLane's
  }

  /// The communicators end before anything goes that their work on the device may still want, and after the
  /// recordings that they are part of.
  ~Parts() {
    watchdog.close([this] { backend->forget_recordings(); });
  }

  void load(const LoadProgress& progress) {
    const auto total =
        static_cast<int64_t>(plan_memory(config, plan, share, false, capacity, types, *backend).weights);
    WeightStore weights(*source, *backend, types, [&](int64_t bytes) {
      if (progress) progress(std::min(bytes, total), total);
    });
    if (group.place.decodes()) {
      model.emplace(config, profile, weights, Rank{*backend, group.tp}, capacity, share);
      if (backend->on_host()) reserve_scratch();
      model->tune();
    }
    source.reset();
    runner.emplace(*backend, group, StepLimits{config, capacity, group.mesh, shared_vision}, share,
                   model ? &*model : nullptr, value_of.data());
    if (progress) progress(total, total);
  }

  /// The widest rows any product reads or writes as an operand.
  void reserve_scratch() {
    if (!group.place.decodes()) return;
    const VisionConfig& v = config.vision;
    const TextConfig& t = config.text;
    backend->reserve(capacity.rows, std::max(t.hidden_size, t.q_width()));
    if (share.shared_vision)
      backend->reserve(capacity.images * v.tokens(), std::max({v.hidden_size, plan.vision.ffn.size(),
                                                               v.channels * v.patch_size * v.patch_size}));
    scratch_bytes =
        backend->reserve(std::min(capacity.rows, backend->rows_at_once()), plan.decoder.ffn.size());
    AttentionRoom room{capacity.sequences, capacity.rows, capacity.pages, plan.decoder.heads.size(),
                       t.head_dim};
    if (share.shared_vision) room = larger(room, attention_of(v, plan.vision, capacity.images));
    scratch_bytes += backend->reserve_attention(room);
    if (share.shared_vision)
      scratch_bytes += backend->reserve_images(static_cast<size_t>(v.image_size * v.image_size * v.channels));
  }

  ThreadPool threads;
  std::unique_ptr<Backend> backend;
  Watchdog watchdog;
  std::unique_ptr<Communicator> replica, tp;  // for tensors that do not lie in host memory
  Group group;
  NumericsProfile profile;
  ModelConfig config;
  WeightTypes types;
  Capacity capacity;
  bool shared_vision;
  std::unique_ptr<TensorSource> source;  // until the weights are packed
  std::array<float, 256> value_of{};
  ShardPlan plan;
  Share share;
  std::optional<PaliGemma> model;
  std::optional<StepRunner> runner;
  size_t scratch_bytes = 0;
};

Engine::Engine(const EngineOptions& options, const ModelConfig& config, Group group,
               const LoadProgress& progress, const Rescue& rescue) {
  if (group.replica.size() != group.mesh.replica_ranks())
    throw std::logic_error(cat("a replica of ", group.replica.size(), " ranks for a mesh that has ",
                               group.mesh.replica_ranks()));
  // Everyone looks at what memory there is before anyone takes it.
  agree(group.replica, [&] { parts_ = std::make_unique<Parts>(options, config, group, rescue); });
  agree(group.replica, [&] { parts_->load(progress); });
  for (Communicator* comm : {parts_->replica.get(), parts_->tp.get()})
    if (comm != nullptr) comm->warm_up();
}

Engine::~Engine() = default;

void Engine::read_slots(const EmbeddingSlots* slots) { parts_->runner->read_slots(slots); }

void Engine::start(const wire::Step& step, const Probe& probe) {
  const bool fetch = probe && !parts_->backend->on_host();
  parts_->runner->start(step, fetch ? fetched(*parts_->backend, probe) : probe);
}

bool Engine::ready() { return parts_->runner->ready(); }
wire::StepDone Engine::finish() { return parts_->runner->finish(); }
size_t Engine::started() const { return parts_->runner->started(); }

wire::StepDone Engine::run(const wire::Step& step, const Probe& probe) {
  if (started() > 0) throw std::logic_error("a step is run while another is under way");
  start(step, probe);
  return finish();
}

PaliGemma& Engine::model() {
  if (!parts_->model) throw std::logic_error("this rank holds no part of the decoder");
  return *parts_->model;
}

const ModelConfig& Engine::config() const { return parts_->config; }
const Capacity& Engine::capacity() const { return parts_->capacity; }
const Share& Engine::share() const { return parts_->share; }

Memory Engine::memory() const {
  Memory memory = parts_->model ? parts_->model->memory() : Memory{};
  memory.workspace += parts_->scratch_bytes + parts_->runner->workspace_bytes();
  for (const Communicator* comm : {parts_->replica.get(), parts_->tp.get()})
    if (comm != nullptr) memory.workspace += comm->workspace_bytes();
  return memory;
}

Backend& Engine::backend() { return *parts_->backend; }

WeightTypes Engine::types() const { return parts_->types; }

std::string Engine::describe() const {
  const int threads = parts_->threads.size(), ranks = parts_->group.mesh.decoder_ranks();
  const WeightTypes& types = parts_->types;
  return cat(parts_->backend->name(), ", ", name_of(types.linear),
             types.decoder == types.linear ? "" : cat(" with ", name_of(types.decoder), " decoder weights"),
             ", ", threads, threads == 1 ? " thread" : " threads",
             ranks > 1 ? cat(" on each of ", ranks, " ranks") : "");
}

wire::StepDone Engine::lead(wire::Step step, const Probe& probe) {
  if (started() > 0) throw std::logic_error("a step is run while another is under way");
  lead_start(std::move(step), probe);
  return finish();
}

void Engine::lead_start(wire::Step step, const Probe& probe) {
  step.set_number(parts_->runner->last_step() + 1);
  Communicator& comm = parts_->group.replica;
  // Who listens does without recordings and their padding; the others have to know.
  if (probe && comm.size() > 1 && parts_->backend->records() && !step.gather_logits())
    throw std::logic_error("a step whose tensors are heard on one of several ranks must gather the logits");
  if (comm.size() > 1) {
    std::string bytes = step.SerializeAsString();
    uint64_t size = bytes.size();
    comm.broadcast(reinterpret_cast<std::byte*>(&size), sizeof(size), 0);
    comm.broadcast(reinterpret_cast<std::byte*>(bytes.data()), bytes.size(), 0);
  }
  start(step, probe);
}

void Engine::follow() {
  Communicator& comm = parts_->group.replica;
  wire::Step step;
  std::string bytes;
  do {
    uint64_t size = 0;
    comm.broadcast(reinterpret_cast<std::byte*>(&size), sizeof(size), 0);
    bytes.resize(size);
    comm.broadcast(reinterpret_cast<std::byte*>(bytes.data()), bytes.size(), 0);
    if (!step.ParseFromString(bytes)) throw std::logic_error("a step that cannot be read");
    start(step);
    while (started() > 1 || (step.stop() && started() > 0)) finish();
  } while (!step.stop());
}

}  // namespace lapidary
