#include "worker/engine/vision_tower.h"

#include <algorithm>
#include <array>
#include <optional>

#include "configs/model/image_steps.h"
#include "sharding/checkpoint/model_tensors.h"
#include "worker/engine/device.h"
#include "worker/engine/memory_plan.h"
#include "worker/images/image.h"
#include "worker/model/paligemma.h"

namespace lapidary {

namespace {

size_t reserve(Backend& backend, const ModelConfig& config, int64_t images) {
  const VisionConfig& v = config.vision;
  const ShardPlan plan = PaliGemma::plan_for(config, 0, 1);
  // The widest rows any product reads or writes as an operand.
  return backend.reserve(images * v.tokens(), std::max({v.hidden_size, v.intermediate_size,
                                                        v.channels * v.patch_size * v.patch_size})) +
         backend.reserve_attention(attention_of(v, plan.vision, images)) +
         backend.reserve_images(static_cast<size_t>(v.image_size * v.image_size * v.channels));
}

}  // namespace

size_t vision_scratch(const EngineOptions& options, const ModelConfig& config, int64_t images,
                      const Backend& beside) {
  ThreadPool one(1);
  const size_t before = beside.free_memory();
  const auto backend = make_backend(options, one, Lane::vision);
  reserve(*backend, config, images);
  return before - std::min(before, beside.free_memory());
}

struct VisionTower::Parts {
  Parts(const EngineOptions& options, const ModelConfig& given, bool beside_decoder)
      : threads(vision_threads(options, beside_decoder)),
        backend(make_backend(options, threads, beside_decoder ? Lane::vision : Lane::decoder)),
        alone(make_solo_rows()),
        config(given),
        images(fit_capacity(options, given).max_encode_images()) {
    value_of = value_table(image_steps(options.model, config, options.profile, options.images));
  }

  void load(const EngineOptions& options, const LoadProgress& progress) {
    const auto source = open_weights(options, config);
    fit_to_weights(config, *source);
    const DType dtype = resolve_dtype(options.dtype, config);
    const ShardPlan plan = PaliGemma::plan_for(config, 0, 1);
    const auto total = static_cast<int64_t>(vision_weight_bytes(config, plan, dtype));
    WeightStore weights(*source, *backend, dtype, [&](int64_t bytes) {
      if (progress) progress(std::min(bytes, total), total);
    });
    weights.ignore_below("language_model.");
    weights.ignore_below("lm_head.");
    siglip.emplace(config.vision, config.text.hidden_size, weights, plan.vision, Rank{*backend, *alone},
                   images);
    weights.check_all_used();
    weights.finish();
    weight_bytes = static_cast<size_t>(weights.bytes());
    scratch_bytes = reserve(*backend, config, images);
    siglip->tune();
    if (progress) progress(total, total);
  }

  ThreadPool threads;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<DeviceComm> alone;
  ModelConfig config;
  int64_t images;
  std::array<float, 256> value_of{};
  std::optional<Siglip> siglip;
  size_t weight_bytes = 0, scratch_bytes = 0;
};

VisionTower::VisionTower(const EngineOptions& options, const ModelConfig& config, bool beside_decoder,
                         const LoadProgress& progress)
    : parts_(std::make_unique<Parts>(options, config, beside_decoder)) {
  parts_->load(options, progress);
}

VisionTower::~VisionTower() = default;

int64_t VisionTower::images() const { return parts_->images; }
int64_t VisionTower::tokens() const { return parts_->config.vision.tokens(); }
int64_t VisionTower::hidden() const { return parts_->config.text.hidden_size; }

void VisionTower::encode(Tensor out, std::span<const uint8_t* const> rgb) {
  parts_->siglip->encode(out, rgb, parts_->value_of.data());
}

Backend& VisionTower::backend() { return *parts_->backend; }
size_t VisionTower::weight_bytes() const { return parts_->weight_bytes; }
size_t VisionTower::workspace_bytes() const {
  return parts_->siglip->workspace_bytes() + parts_->scratch_bytes;
}

}  // namespace lapidary
