#include "worker/engine/step_runner.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

/// Whether rows that go through layers `run` come to stand before layer `edge`.
bool reaches(LayerRun run, int64_t edge) { return run.begin < edge && edge <= run.end; }

LayerRun common(LayerRun a, LayerRun b) {
  const int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

}  // namespace

StepRunner::StepRunner(Backend& ops, const DeviceGroup& group, const StepLimits& limits,
                       const StagePart& share, PaliGemma* model, const float* value_of)
    : ops_(ops),
      group_(group),
      limits_(limits),
      share_(share),
      model_(model),
      value_of_(value_of),
      sequences_(static_cast<size_t>(limits.capacity.max_num_seqs())),
      feed_(ops, group, limits.capacity.max_num_seqs()),
      landing_(ops, group, limits.capacity.max_step_images(), limits.config.vision.tokens(),
               limits.config.text.hidden_size),
      space_(ops) {
  const int64_t rows = group.coord.decodes() ? limits.capacity.max_num_batched_tokens() : 0;
  whole_.rows = space_.make(rows, limits.config.text.hidden_size);
  group_work_.rows = space_.make(rows, limits.config.text.hidden_size);
  if (share.head) sampler_.emplace(Rank{ops, group.tp}, limits.capacity.max_num_seqs());
  const auto tokens = static_cast<size_t>(limits.capacity.max_num_seqs()) * sizeof(int32_t);
  for (size_t i = 0; i < kMaxInFlight; ++i) spare_.push_back(ops.make_readback(tokens));
}

size_t StepRunner::workspace_bytes() const {
  return space_.bytes() + landing_.bytes() + feed_.bytes() + (sampler_ ? sampler_->bytes() : 0);
}

void StepRunner::start(const wire::Step& step, const TensorHook& hook) {
  if (spare_.empty()) throw std::logic_error("more steps are started than may be");
  check_step(step, last_, limits_, sequences_, held_);
  last_ = step.number();
  tokens_ = {};
  begin(step, hook);
  run(step, hook);
  in_flight_.push_back({step.number(), std::move(spare_.back())});
  spare_.pop_back();
  in_flight_.back().tokens->start(tokens_);
}

bool StepRunner::ready() { return !in_flight_.empty() && in_flight_.front().tokens->ready(); }

wire::StepDone StepRunner::finish() {
  if (in_flight_.empty()) throw std::logic_error("no step was started");
  InFlightStep& flight = in_flight_.front();
  const std::span<const std::byte> bytes = flight.tokens->wait();
  std::vector<int32_t> tokens(bytes.size() / sizeof(int32_t));
  if (!tokens.empty()) std::memcpy(tokens.data(), bytes.data(), bytes.size());
  wire::StepDone done;
  done.set_number(flight.number);
  done.mutable_tokens()->Add(tokens.begin(), tokens.end());
  spare_.push_back(std::move(flight.tokens));
  in_flight_.pop_front();
  return done;
}

void StepRunner::run(const wire::Step& step, const TensorHook& hook) {
  if (step.end_layer() > 0) return run_group(step, hook);
  whole_.batch.clear();
  whole_.slots.clear();
  add_decodes(step);
  add_prefills(step, whole_);
  advance(whole_, {0, limits_.config.text.layers}, step, hook);
}

void StepRunner::begin(const wire::Step& step, const TensorHook& hook) {
  const int64_t tokens = limits_.config.vision.tokens();
  for (int32_t slot : step.decodes()) ++sequences_[static_cast<size_t>(slot)].length;
  for (const wire::Prefill& prefill : step.prefills())
    sequences_[static_cast<size_t>(prefill.sequence())] = begin_sequence(prefill, tokens);
  landing_.bring(step, [&](Tensor out, std::span<const uint8_t* const> pixels) {
    model_->encode(out, pixels, value_of_, hook);
  });
}

void StepRunner::add_decodes(const wire::Step& step) {
  for (int32_t slot : step.decodes()) {
    const Sequence& sequence = sequences_[static_cast<size_t>(slot)];
    if (group_.first_stage()) feed_.wait_for(slot);
    whole_.batch.add(1, sequence.length - 1, sequence.prefix, sequence.pages);
    whole_.batch.ids.push_back(
        Backend::token_slot_id(slot));  // beyond the first stage only their number counts
    whole_.slots.push_back(slot);
  }
}

void StepRunner::add_prefills(const wire::Step& step, Work& work) const {
  const auto image_id = static_cast<int32_t>(limits_.config.image_token_id);
  const auto tokens = static_cast<size_t>(limits_.config.vision.tokens());
  for (const wire::Prefill& prefill : step.prefills()) {
    const Sequence& sequence = sequences_[static_cast<size_t>(prefill.sequence())];
    work.batch.add(sequence.prefix, 0, sequence.prefix, sequence.pages);
    for (int32_t id : prefill.ids()) {
      if (id == image_id) work.batch.image_rows.push_back(work.batch.size());
      work.batch.ids.insert(work.batch.ids.end(), id == image_id ? tokens : 1, id);
    }
    work.slots.push_back(prefill.sequence());
  }
}

void StepRunner::run_group(const wire::Step& step, const TensorHook& hook) {
  if (step.first_layer() == 0) {
    group_work_.batch.clear();
    group_work_.slots.clear();
    add_prefills(step, group_work_);
    held_.slots = group_work_.slots;
  }
  advance(group_work_, {step.first_layer(), step.end_layer()}, step, hook);
  held_.next_layer = step.end_layer();
  if (held_.next_layer == limits_.config.text.layers) held_ = {};
}

/// This rank's part of the layers `run`. Rows go on to the next stage in the very step in which they reach
/// it, even where that stage runs its first layer only later: so both agree on the order of messages.
void StepRunner::advance(Work& work, LayerRun run, const wire::Step& step, const TensorHook& hook) {
  if (work.slots.empty()) return;
  const bool last = run.end == limits_.config.text.layers;
  if (model_ != nullptr) {
    const bool record = can_record(step, hook);
    const DecodeBucket bucket = record ? pad(work) : DecodeBucket{};
    sampling_.clear();
    if (share_.head && last) collect_sampling(work);
    const Batch& batch = work.batch;
    ops_.prepare({batch.rows.spans, batch.rows.positions, batch.ids, work.slots, sampling_, bucket.rows,
                  bucket.tokens});
    if (!share_.embedding && reaches(run, share_.layers.begin))
      group_.replica.receive(work.x(), group_.peer(group_.coord.stage - 1), Channel::activations);
    if (record && !Sampler::needs_host(sampling_)) {
      const auto width = static_cast<uint64_t>(Sampler::width(sampling_));
      ops_.replay(bucket.key() ^ width << 52, [&] { compute(work, run, step, hook); });
      group_.replica.host().progress();
    } else {
      compute(work, run, step, hook);
    }
    if (!share_.head && reaches(run, share_.layers.end))
      group_.replica.send(work.x(), group_.peer(group_.coord.stage + 1), Channel::activations);
  }
  if (!last) return;
  if (share_.head) tokens_ = sampler_->tokens(work.batch.sequences());
  mark_decoding(work.sequences());
  if (group_.mesh.pp > 1) feed_.sampled(work.sequences(), tokens_);
}

/// What is between the messages from and to other stages. Nothing here needs the host, where the step can be
/// recorded.
void StepRunner::compute(Work& work, LayerRun run, const wire::Step& step, const TensorHook& hook) {
  const Tensor x = work.x();
  if (share_.embedding && run.begin == 0)
    model_->embed(x, work.batch, feed_.token_table(), landing_.rows(), hook);
  model_->run_layers(x, work.batch, common(run, share_.layers), group_.replica.host(), hook);
  if (!share_.head || run.end < limits_.config.text.layers) return;
  sample_last(work, step, hook);
  if (group_.mesh.pp == 1)
    ops_.scatter(feed_.token_table(), work.slots, sampler_->tokens(std::ssize(sampling_)));
}

bool StepRunner::can_record(const wire::Step& step, const TensorHook& hook) const {
  return ops_.records() && !hook && !step.gather_logits() && step.prefills_size() == 0 &&
         step.end_layer() == 0 && (group_.tp.size() == 1 || group_.tp.in_stream());
}

/// Rows that nobody reads, up to a size that other steps have too.
DecodeBucket StepRunner::pad(Work& work) {
  int64_t longest = 0;
  for (int32_t slot : work.slots) longest = std::max(longest, sequences_[static_cast<size_t>(slot)].length);
  const int64_t count = work.batch.sequences();
  const Capacity& capacity = limits_.capacity;
  const DecodeBucket bucket =
      DecodeBucket::fitting(count, longest, capacity.max_num_seqs(), capacity.max_model_len());
  const auto nobody = static_cast<int32_t>(capacity.max_num_seqs());  // the token_table's last row
  work.batch.pad(bucket.rows - count, Backend::token_slot_id(nobody));
  work.slots.resize(static_cast<size_t>(bucket.rows), nobody);
  return bucket;
}

void StepRunner::collect_sampling(const Work& work) {
  for (int32_t slot : work.sequences()) {
    const Sequence& sequence = sequences_[static_cast<size_t>(slot)];
    sampling_.push_back(sequence.sampling);
    sampling_.back().position = sequence.length;
  }
  sampling_.resize(work.slots.size());
}

void StepRunner::sample_last(Work& work, const wire::Step& step, const TensorHook& hook) {
  const Tensor logits = model_->logits(work.x(), work.batch, hook);
  float cap = model_->logits_cap();
  if (step.gather_logits()) {
    if (cap > 0) ops_.softcap(logits, std::exchange(cap, 0.0f));
    model_->report_logits(logits, hook);
  }
  sampler_->sample(logits, model_->plan().vocab.begin, cap, sampling_);
}

void StepRunner::mark_decoding(std::span<const int32_t> slots) {
  for (int32_t slot : slots) sequences_[static_cast<size_t>(slot)].decodes = true;
}

}  // namespace lapidary
