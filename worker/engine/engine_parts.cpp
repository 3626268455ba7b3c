#include "worker/engine/engine_parts.h"

#include <algorithm>

#include "configs/error.h"
#include "configs/model/image_steps.h"
#include "sharding/checkpoint/dummy_weights.h"
#include "sharding/checkpoint/model_tensors.h"
#include "sharding/comm/launch_environment.h"
#include "worker/engine/device.h"
#include "worker/engine/device_memory.h"
#include "worker/engine/vision_tower.h"
#include "worker/images/image.h"

namespace lapidary {

Engine::Parts::Parts(const EngineOptions& options, const ModelConfig& given, const Group& where,
                     const Rescue& rescue)
    : threads(where.coord.decodes() ? decoder_threads(options) : 1),
      backend(make_backend(options, threads)),
      watchdog(rescue, [this] { return backend->made_progress(); }),
      replica(make_rows(where, where.replica, options)),
      tp(make_rows(where, where.tp, options)),
      group{*replica, *tp, where.mesh, where.coord},
      profile(numerics_profile(options.profile)),
      config(given),
      types(resolve_types(options, given)),
      capacity(fit_capacity(options, given, where.mesh)),
      shared_vision(options.shared_vision),
      source(open_weights(options, given)) {
  value_of = value_table(image_steps(options.model, config, options.profile, options.images));
  fit_to_weights(config, *source);
  plan = PaliGemma::plan_for(config, group.coord.tp_rank, group.mesh.tp);
  share = stage_part_of(config, group.mesh, group.coord, options.pp_layers, shared_vision);
  if (backend->on_host()) {
    check_memory(plan_memory(config, plan, share, sees(), capacity, types, *backend), local_size(),
                 available_memory());
  } else {
    check_device(options);
  }
}

std::unique_ptr<DeviceComm> Engine::Parts::make_rows(const Group& where, Communicator& host,
                                                     const EngineOptions& options) {
  return where.make_rows ? where.make_rows(host, *backend)
                         : make_device_comm(host, *backend, watchdog, options);
}

/// Whether a vision lane shares the memory.
bool Engine::Parts::sees() const { return !shared_vision && has_vision_lane(group.mesh, group.coord); }

/// What a GPU has to give to both lanes. Scratch is taken before it is looked at, the rest is counted.
void Engine::Parts::check_device(const EngineOptions& options) {
  reserve_scratch();
  DeviceNeed need{plan_memory(config, plan, share, sees(), capacity, types, *backend)};
  const size_t all = count_device();
  // Rows are padded, too.
  need.planned.workspace = all - std::min(all, need.planned.total());
  if (sees()) need.lane = vision_scratch(options, config, capacity.max_encode_images(), *backend);
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
size_t Engine::Parts::count_device() {
  DummyWeights made(config);
  backend->begin_plan();
  try {
    WeightStore weights(made, *backend, types);
    std::optional<PaliGemma> part;
    if (group.coord.decodes())
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

void Engine::Parts::count_lane(WeightStore& weights) {
  const auto alone = make_solo_rows();
  const int64_t hidden = config.text.hidden_size, tokens = config.vision.tokens();
  const Siglip tower(config.vision, hidden, weights, PaliGemma::plan_for(config, 0, 1).vision,
                     Rank{*backend, *alone}, capacity.max_encode_images());
  const EncoderCache slots(*backend, capacity.encoder_cache_slots(), tokens, hidden);
  backend->allocate(static_cast<size_t>(capacity.max_encode_images() * tokens * hidden) *
                    sizeof(float));  // VisionLane's
}

Engine::Parts::~Parts() {
  watchdog.close([this] { backend->forget_recordings(); });
}

void Engine::Parts::load(const LoadProgress& progress) {
  const auto total =
      static_cast<int64_t>(plan_memory(config, plan, share, false, capacity, types, *backend).weights);
  WeightStore weights(*source, *backend, types, [&](int64_t bytes) {
    if (progress) progress(std::min(bytes, total), total);
  });
  if (group.coord.decodes()) {
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
void Engine::Parts::reserve_scratch() {
  if (!group.coord.decodes()) return;
  const VisionConfig& v = config.vision;
  const TextConfig& t = config.text;
  backend->reserve(capacity.max_num_batched_tokens(), std::max(t.hidden_size, t.q_width()));
  if (share.shared_vision)
    backend->reserve(
        capacity.max_encode_images() * v.tokens(),
        std::max({v.hidden_size, plan.vision.ffn.size(), v.channels * v.patch_size * v.patch_size}));
  scratch_bytes = backend->reserve(std::min(capacity.max_num_batched_tokens(), backend->mlp_chunk_rows()),
                                   plan.decoder.ffn.size());
  AttentionLimits room{capacity.max_num_seqs(), capacity.max_num_batched_tokens(), capacity.num_kv_pages(),
                       plan.decoder.heads.size(), t.head_dim};
  if (share.shared_vision) room = larger(room, attention_of(v, plan.vision, capacity.max_encode_images()));
  scratch_bytes += backend->reserve_attention(room);
  if (share.shared_vision)
    scratch_bytes += backend->reserve_images(static_cast<size_t>(v.image_size * v.image_size * v.channels));
}

}  // namespace lapidary
