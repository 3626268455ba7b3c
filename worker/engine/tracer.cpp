#include "worker/engine/tracer.h"

#include <algorithm>

#include "configs/error.h"
#include "sharding/checkpoint/safetensors.h"

namespace lapidary {

void Tracer::add(const std::string& name, Tensor value) {
  Entry& entry = entries_[name];
  if (entry.shape.empty()) entry.shape = {0, value.cols()};
  entry.shape[0] += value.rows();
  for (int64_t r = 0; r < value.rows(); ++r) {
    const float* row = value.row<float>(r);
    entry.floats.insert(entry.floats.end(), row, row + value.cols());
  }
}

void Tracer::add_floats(const std::string& name, std::vector<int64_t> shape, std::vector<float> values) {
  entries_[name] = {std::move(shape), std::move(values), {}};
}

void Tracer::add_ints(const std::string& name, std::vector<int32_t> values) {
  entries_[name] = {{static_cast<int64_t>(values.size())}, {}, std::move(values)};
}

void Tracer::write(const std::filesystem::path& path) const {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, entry] : entries_) {
    const bool ints = !entry.ints.empty();
    tensors.push_back({name, ints ? StoredType::i32 : StoredType::f32, entry.shape,
                       ints ? static_cast<const void*>(entry.ints.data()) : entry.floats.data()});
  }
  write_safetensors(path, tensors);
}

namespace {

/// With one id in place of each image's run of them, as a step has it.
std::vector<int32_t> compact(std::span<const int32_t> prefix, const ModelConfig& config) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < prefix.size();) {
    ids.push_back(prefix[i]);
    i += prefix[i] == config.image_token_id ? static_cast<size_t>(config.vision.tokens()) : 1;
  }
  return ids;
}

wire::Step prefill_of(const TraceRequest& request, int64_t length, const ModelConfig& config) {
  wire::Step step;
  step.set_gather_logits(true);
  wire::Prefill& prefill = *step.add_prefills();
  const auto ids = compact(request.prefix, config);
  prefill.mutable_ids()->Add(ids.begin(), ids.end());
  for (int64_t page = 0; page * KvShape::kPageTokens < length; ++page)
    prefill.add_pages(static_cast<int32_t>(page));
  for (const std::string& rgb : request.images) prefill.add_images()->set_rgb(rgb);
  *prefill.mutable_sampling() = request.sampling;
  return step;
}

}  // namespace

std::vector<int32_t> trace(Engine& engine, const TraceRequest& request, Tracer* tracer) {
  const Capacity& capacity = engine.capacity();
  const auto length = static_cast<int64_t>(request.prefix.size()) + request.max_new_tokens;
  if (length > capacity.max_model_len() ||
      static_cast<int64_t>(request.images.size()) > capacity.max_step_images())
    fail("a prompt of ", request.prefix.size(), " tokens with ", request.max_new_tokens, " new ones and ",
         request.images.size(), " images; there is room for ", capacity.max_model_len(),
         " tokens (--max-model-len) and ", capacity.max_step_images(), " images (--max-num-batched-tokens)");
  const TensorHook hook = [&](const std::string& name, Tensor value) {
    if (tracer != nullptr) tracer->add(name, value);
  };

  wire::Step step = prefill_of(request, length, engine.config());
  std::vector<int32_t> tokens;
  while (static_cast<int64_t>(tokens.size()) < request.max_new_tokens) {
    tokens.push_back(engine.run(step, hook).tokens(0));
    if (std::find(request.eos.begin(), request.eos.end(), tokens.back()) != request.eos.end()) break;
    step.clear_prefills();
    step.clear_decodes();
    step.add_decodes(0);
  }
  return tokens;
}

}  // namespace lapidary
