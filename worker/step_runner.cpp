#include "worker/step_runner.h"

#include <algorithm>

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

StepRunner::StepRunner(Backend& ops, const Group& group, const StepLimits& limits, const Share& share,
                       PaliGemma* model, const float* value_of)
    : ops_(ops),
      group_(group),
      limits_(limits),
      share_(share),
      model_(model),
      value_of_(value_of),
      sequences_(static_cast<size_t>(limits.capacity.sequences)),
      feed_(group, sequences_),
      landing_(ops, group, limits.capacity.step_images, limits.config.vision.tokens(),
               limits.config.text.hidden_size),
      space_(ops) {
  const int64_t rows = group.place.decodes() ? limits.capacity.rows : 0;
  whole_.rows = space_.make(rows, limits.config.text.hidden_size);
  group_work_.rows = space_.make(rows, limits.config.text.hidden_size);
}

wire::StepDone StepRunner::run(const wire::Step& step, const Probe& probe) {
  check_step(step, last_, limits_, sequences_, held_);
  last_ = step.number();
  wire::StepDone done;
  done.set_number(step.number());
  begin(step, probe);
  if (step.end_layer() > 0) {
    run_group(step, done, probe);
    return done;
  }
  whole_.batch.clear();
  whole_.places.clear();
  add_decodes(step);
  add_prefills(step, whole_);
  advance(whole_, {0, limits_.config.text.layers}, step, done, probe);
  return done;
}

void StepRunner::begin(const wire::Step& step, const Probe& probe) {
  const int64_t tokens = limits_.config.vision.tokens();
  for (int32_t place : step.decodes()) ++sequences_[static_cast<size_t>(place)].length;
  for (const wire::Prefill& prefill : step.prefills())
    sequences_[static_cast<size_t>(prefill.sequence())] = begin_sequence(prefill, tokens);
  landing_.bring(step, [&](Tensor out, std::span<const uint8_t* const> pixels) {
    model_->encode(out, pixels, value_of_, probe);
  });
}

void StepRunner::add_decodes(const wire::Step& step) {
  for (int32_t place : step.decodes()) {
    const Sequence& sequence = sequences_[static_cast<size_t>(place)];
    if (group_.first_stage()) feed_.wait_for(place);
    whole_.batch.add(1, sequence.length - 1, sequence.prefix, sequence.pages);
    whole_.batch.ids.push_back(sequence.token);  // beyond the first stage only their number counts
    whole_.places.push_back(place);
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
    work.places.push_back(prefill.sequence());
  }
}

void StepRunner::run_group(const wire::Step& step, wire::StepDone& done, const Probe& probe) {
  if (step.first_layer() == 0) {
    group_work_.batch.clear();
    group_work_.places.clear();
    add_prefills(step, group_work_);
    held_.places = group_work_.places;
  }
  advance(group_work_, {step.first_layer(), step.end_layer()}, step, done, probe);
  held_.next_layer = step.end_layer();
  if (held_.next_layer == limits_.config.text.layers) held_ = {};
}

/// This rank's part of the layers `run`. Rows go on to the next stage in the very step in which they reach
/// it, even where that stage runs its first layer only later: so both agree on the order of messages.
void StepRunner::advance(Work& work, LayerRun run, const wire::Step& step, wire::StepDone& done,
                         const Probe& probe) {
  if (work.places.empty()) return;
  if (model_ != nullptr) {
    const Tensor x = work.x();
    if (share_.embedding && run.begin == 0) model_->embed(x, work.batch, landing_.rows(), probe);
    if (!share_.embedding && reaches(run, share_.layers.begin))
      group_.replica.receive_rows(x, group_.peer(group_.place.stage - 1), Channel::activations);
    model_->run_layers(x, work.batch, common(run, share_.layers), group_.replica, probe);
    if (!share_.head && reaches(run, share_.layers.end))
      group_.replica.send_rows(x, group_.peer(group_.place.stage + 1), Channel::activations);
  }
  if (run.end < limits_.config.text.layers) return;
  if (share_.head) sample_last(work, step, done, probe);
  finish(work.places);
  feed_.sampled(work.places, {done.tokens().data(), static_cast<size_t>(done.tokens_size())});
}

void StepRunner::sample_last(Work& work, const wire::Step& step, wire::StepDone& done, const Probe& probe) {
  const Tensor logits = model_->logits(work.x(), work.batch, probe);
  if (step.gather_logits()) model_->report_logits(logits, probe);
  specs_.clear();
  for (int32_t place : work.places) {
    const Sequence& sequence = sequences_[static_cast<size_t>(place)];
    specs_.push_back(sequence.sampling);
    specs_.back().position = sequence.length;
  }
  const auto tokens = sample({ops_, group_.tp}, logits, model_->plan().vocab.begin, specs_);
  done.mutable_tokens()->Add(tokens.begin(), tokens.end());
}

void StepRunner::finish(std::span<const int32_t> places) {
  for (int32_t place : places) sequences_[static_cast<size_t>(place)].decodes = true;
}

}  // namespace lapidary
