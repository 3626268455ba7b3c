#include "worker/tracer.h"

#include <algorithm>

#include "configs/error.h"
#include "sharding/safetensors.h"

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

std::vector<int32_t> trace(Engine& engine, const TraceRequest& request, Tracer& tracer) {
  const Capacity& capacity = engine.model().capacity();
  const auto length = static_cast<int64_t>(request.prefix.size()) + request.max_new_tokens;
  if (length > capacity.length || static_cast<int64_t>(request.images.size()) > capacity.slots)
    fail("a prompt of ", request.prefix.size(), " tokens with ", request.max_new_tokens, " new ones and ",
         request.images.size(), " images; built for ", capacity.length, " tokens and ", capacity.slots,
         " images");
  const Probe probe = [&](const std::string& name, Tensor value) { tracer.add(name, value); };

  wire::Step step;
  step.set_gather_logits(true);
  for (size_t i = 0; i < request.images.size(); ++i) {
    wire::Encode& encode = *step.add_encodes();
    encode.set_slot(static_cast<int32_t>(i));
    encode.set_rgb(request.images[i]);
  }
  wire::Rows& rows = *step.add_rows();
  rows.set_prefix(static_cast<int64_t>(request.prefix.size()));
  rows.mutable_ids()->Add(request.prefix.begin(), request.prefix.end());
  for (int64_t page = 0; page * KvShape::kPageTokens < length; ++page)
    rows.add_pages(static_cast<int32_t>(page));
  for (size_t i = 0; i < request.images.size(); ++i) rows.add_slots(static_cast<int32_t>(i));
  *rows.mutable_sampling() = request.sampling;

  std::vector<int32_t> tokens;
  while (static_cast<int64_t>(tokens.size()) < request.max_new_tokens) {
    tokens.push_back(engine.lead(step, probe).tokens(0));
    if (std::find(request.eos.begin(), request.eos.end(), tokens.back()) != request.eos.end()) break;
    step.clear_encodes();
    rows.clear_slots();
    rows.set_position(rows.position() + rows.ids_size());
    rows.clear_ids();
    rows.add_ids(tokens.back());
  }
  return tokens;
}

}  // namespace lapidary
