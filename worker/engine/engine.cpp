#include "worker/engine/engine.h"

#include <algorithm>
#include <vector>

#include "configs/error.h"
#include "worker/engine/engine_parts.h"

namespace lapidary {
namespace {

/// A hook hears of float32 in host memory, wherever the tensors are and whatever their dtype.
TensorHook fetched(Backend& backend, const TensorHook& hook) {
  return [&backend, &hook](const std::string& name, Tensor value) {
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
    hook(name, whole);
  };
}

}  // namespace

Engine::Engine(const EngineOptions& options, const ModelConfig& config, Group group,
               const LoadProgress& progress, const Rescue& rescue) {
  if (group.replica.size() != group.mesh.replica_ranks())
    throw std::logic_error(cat("a replica of ", group.replica.size(), " ranks for a mesh that has ",
                               group.mesh.replica_ranks()));
  // Everyone looks at what memory there is before anyone takes it.
  agree(group.replica, [&] { parts_ = std::make_unique<Parts>(options, config, group, rescue); });
  agree(group.replica, [&] { parts_->load(progress); });
  for (DeviceComm* comm : {parts_->replica.get(), parts_->tp.get()}) comm->warm_up();
}

Engine::~Engine() = default;

void Engine::read_slots(const EncoderCache* slots) { parts_->runner->read_slots(slots); }

void Engine::start(const wire::Step& step, const TensorHook& hook) {
  Backend& backend = *parts_->backend;
  // Who listens does without recordings and their padding: the others have to do so, too.
  if (hook && parts_->group.replica.size() > 1 && backend.records() && !step.gather_logits())
    throw std::logic_error("a step whose tensors a rank of several hears must gather the logits");
  parts_->runner->start(step, hook && !backend.on_host() ? fetched(backend, hook) : hook);
}

bool Engine::ready() { return parts_->runner->ready(); }
wire::StepDone Engine::finish() { return parts_->runner->finish(); }
bool Engine::progress() { return parts_->group.replica.host().progress(); }
size_t Engine::started() const { return parts_->runner->started(); }

wire::StepDone Engine::run(wire::Step step, const TensorHook& hook) {
  if (started() > 0) throw std::logic_error("a step is run while another is under way");
  if (step.number() == 0) step.set_number(last_step() + 1);
  start(step, hook);
  return finish();
}

uint64_t Engine::last_step() const { return parts_->runner->last_step(); }

PaliGemma& Engine::model() {
  if (!parts_->model) throw std::logic_error("this rank holds no part of the decoder");
  return *parts_->model;
}

const ModelConfig& Engine::config() const { return parts_->config; }
const Capacity& Engine::capacity() const { return parts_->capacity; }
const StagePart& Engine::share() const { return parts_->share; }

Memory Engine::memory() const {
  Memory memory = parts_->model ? parts_->model->memory() : Memory{};
  memory.workspace += parts_->scratch_bytes + parts_->runner->workspace_bytes();
  for (const DeviceComm* comm : {parts_->replica.get(), parts_->tp.get()})
    memory.workspace += comm->workspace_bytes();
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

}  // namespace lapidary
