#include <algorithm>
#include <limits>
#include <stdexcept>

#include "configs/error.h"
#include "coordinator/schedule/scheduler.h"

namespace lapidary {

std::optional<wire::Step> Scheduler::next() {
  if (planned_ - finished_ == in_flight_.size()) return std::nullopt;
  stage();
  prune();
  wire::Step step;
  InFlightStep& next = flight(planned_ + 1);
  next.decodes.clear();
  next.prefills.clear();
  if (!(config_.mode == Mode::latency ? plan_in_turn(step) : plan_together(step))) return std::nullopt;
  step.set_number(++planned_);
  return step;
}

/// Groups keep those that go on. Before anything is admitted: a sequence slot that is free now may be taken
/// then.
void Scheduler::prune() {
  for (Group& group : groups_)
    std::erase_if(group.slots, [this](int32_t slot) {
      const Running& running = at(slot);
      return running.entry == nullptr || running.ended || running.planned == running.max_new_tokens;
    });
}

// ---- throughput: decodes and prefills of the group whose turn it is, together

bool Scheduler::plan_together(wire::Step& step) {
  for (size_t i = 0; i < groups_.size(); ++i) {
    const size_t group = (turn_ + i) % groups_.size();
    if (too_early(groups_[group]) || !fill(group, step)) continue;
    groups_[group].last_step = planned_ + 1;
    turn_ = (group + 1) % groups_.size();
    return true;
  }
  return false;
}

/// Stages work in the order of their steps, and a decode step waits until the last stage has sampled its
/// tokens. Behind a prefill that is long, and would hold up the prefills of pictures that become ready
/// meanwhile; so the next decode step of a group is planned when the prefill before its last one is done.
bool Scheduler::too_early(const Group& group) const {
  const bool more_prefills = !(waiting_.empty() && encoding_.empty() && ready_.empty());
  if (groups_.size() == 1 || !more_prefills || (allowance(group) > 0 && fits(0, 0))) return false;
  for (uint64_t step = finished_ + 1; step <= group.last_step; ++step)
    if (!flight(step).prefills.empty()) return true;
  return false;
}

/// Where a prefill has no room beside the decodes, they stay out of every other step: else it would wait
/// until most of them had ended.
bool Scheduler::fill(size_t index, wire::Step& step) {
  Group& group = groups_[index];
  auto rows = static_cast<int64_t>(group.slots.size());
  group.held_back = !group.held_back && allowance(group) > 0 && !fits(rows, 0) && fits(0, 0);
  if (group.held_back) rows = 0;
  if (rows > 0) decode(group, step);
  sample_first(group, admit(group, rows, step));
  return step.decodes_size() + step.prefills_size() > 0;
}

// ---- latency: parts of one batch of prefills, and a decode step of each group between two parts

bool Scheduler::plan_in_turn(wire::Step& step) {
  const size_t decoding = groups_decoding();
  if (pause_ == 0 || decoding == 0) {
    if (!batch_) {
      const auto fewest =
          std::min_element(groups_.begin(), groups_.end(),
                           [](const Group& a, const Group& b) { return a.slots.size() < b.slots.size(); });
      auto slots = admit(*fewest, 0, step);
      if (!slots.empty()) batch_ = Batch{std::move(slots), static_cast<size_t>(fewest - groups_.begin()), 0};
    }
    if (batch_) {
      plan_part(step);
      return true;
    }
  }
  if (decoding == 0) return false;
  while (groups_[turn_].slots.empty()) turn_ = (turn_ + 1) % groups_.size();
  decode(groups_[turn_], step);
  turn_ = (turn_ + 1) % groups_.size();
  if (pause_ > 0) --pause_;
  return true;
}

/// The batch's next layers; all that are left where nobody waits for a decode step.
void Scheduler::plan_part(wire::Step& step) {
  const int64_t first = batch_->next_layer;
  const int64_t end = groups_decoding() > 0
                          ? std::min(first + config_.layer_group, config_.capacity.num_layers())
                          : config_.capacity.num_layers();
  if (end - first < config_.capacity.num_layers()) {
    step.set_first_layer(static_cast<int32_t>(first));
    step.set_end_layer(static_cast<int32_t>(end));
  }
  batch_->next_layer = end;
  if (end == config_.capacity.num_layers()) {
    sample_first(groups_[batch_->group], batch_->slots);
    batch_.reset();
  }
  pause_ = groups_decoding();
}

// ---- both

size_t Scheduler::groups_decoding() const {
  return static_cast<size_t>(
      std::count_if(groups_.begin(), groups_.end(), [](const Group& g) { return !g.slots.empty(); }));
}

/// How many more the group may take: groups are kept even, so none grows beyond its share of all that run or
/// could run now. Were memory not reckoned with, the first group would take it all.
size_t Scheduler::allowance(const Group& group) const {
  if (ready_.empty()) return 0;
  const auto pages = static_cast<size_t>(pages_needed(config_, ready_.front().request));
  size_t all = std::min({ready_.size(), free_sequence_slots_.size(), free_pages_.size() / pages});
  for (const Group& other : groups_) all += other.slots.size();
  const size_t share = (all + groups_.size() - 1) / groups_.size();
  return share - std::min(share, group.slots.size());
}

/// Whether the first request that is ready has room in a step of so many rows and images so far.
bool Scheduler::fits(int64_t rows, int64_t images) const {
  if (ready_.empty() || free_sequence_slots_.empty()) return false;
  const Request& request = ready_.front().request;
  return rows + prefix_tokens(config_, request) <= config_.capacity.max_num_batched_tokens() &&
         images + static_cast<int64_t>(request.images.size()) <= config_.capacity.max_step_images() &&
         pages_needed(config_, request) <= static_cast<int64_t>(free_pages_.size());
}

/// The sequence slots of those whose prefills the step now has.
std::vector<int32_t> Scheduler::admit(const Group& group, int64_t rows, wire::Step& step) {
  std::vector<int32_t> slots;
  int64_t images = 0;
  for (size_t left = allowance(group); left > 0 && fits(rows, images); --left) {
    Entry& entry = ready_.pop();
    rows += prefix_tokens(config_, entry.request);
    images += static_cast<int64_t>(entry.request.images.size());
    prefill(entry, step);
    slots.push_back(entry.slot);
  }
  return slots;
}

void Scheduler::prefill(Entry& entry, wire::Step& step) {
  const Request& request = entry.request;
  entry.slot = free_sequence_slots_.back();
  free_sequence_slots_.pop_back();
  Running& running = at(entry.slot);
  running.entry = &entry;
  running.eos = request.eos.get();
  running.request = request.id;
  running.last_step = kNotYet;
  running.max_new_tokens = static_cast<int32_t>(request.max_new_tokens);
  running.reused = entry.reused;
  if (!entry.slots.empty()) {
    running.width = cache_slots_.width(entry.slots.front());
    running.height = cache_slots_.height(entry.slots.front());
    running.orientation_left = std::any_of(entry.slots.begin(), entry.slots.end(),
                                           [&](int32_t slot) { return cache_slots_.orientation_left(slot); });
  }
  const auto pages = free_pages_.end() - pages_needed(config_, request);
  entry.pages.assign(pages, free_pages_.end());
  free_pages_.erase(pages, free_pages_.end());

  wire::Prefill& prefill = *step.add_prefills();
  prefill.set_request(request.id);
  prefill.set_sequence(entry.slot);
  prefill.mutable_ids()->Add(request.ids->begin(), request.ids->end());
  prefill.mutable_pages()->Add(entry.pages.begin(), entry.pages.end());
  for (const int32_t slot : entry.slots) *prefill.add_images() = cache_slots_.image(slot);
  *prefill.mutable_sampling() = request.sampling;
}

void Scheduler::decode(const Group& group, wire::Step& step) {
  step.mutable_decodes()->Add(group.slots.begin(), group.slots.end());
  flight(planned_ + 1).decodes = group.slots;
  for (const int32_t slot : group.slots) {
    Running& running = at(slot);
    ++running.planned;
    running.last_step = planned_ + 1;
  }
}

/// The prefills reach the last layer in this step.
void Scheduler::sample_first(Group& group, const std::vector<int32_t>& prefilled) {
  flight(planned_ + 1).prefills = prefilled;
  for (const int32_t slot : prefilled) {
    Running& running = at(slot);
    running.planned = 1;
    running.last_step = planned_ + 1;
    group.slots.push_back(slot);
  }
}

// ---- results

std::vector<RequestOutput> Scheduler::finish(const wire::StepDone& done) {
  check(done);
  const InFlightStep& ended = flight(++finished_);
  std::vector<RequestOutput> events;
  events.reserve(static_cast<size_t>(done.tokens_size()));
  const int32_t* token = done.tokens().data();
  for (const int32_t slot : ended.decodes) advance(slot, *token++, events);
  for (const int32_t slot : ended.prefills) {
    release_slots(*at(slot).entry);
    advance(slot, *token++, events);
  }
  return events;
}

void Scheduler::check(const wire::StepDone& done) {
  if (finished_ == planned_)
    fail("a worker says that step ", done.number(), " has ended, but none is in flight after step ",
         finished_);
  if (done.number() != finished_ + 1)
    fail("a worker says that step ", done.number(), " has ended, but the next to end is step ",
         finished_ + 1);
  const InFlightStep& next = flight(finished_ + 1);
  const size_t expected = next.decodes.size() + next.prefills.size();
  if (static_cast<size_t>(done.tokens_size()) != expected)
    fail("step ", done.number(), " of ", expected, " sequences came back with ", done.tokens_size(),
         " tokens");
  for (const int32_t token : done.tokens())
    if (token < 0 || (config_.vocab_size > 0 && token >= config_.vocab_size))
      fail("step ", done.number(), " came back with token ", token, ", which is not within 0 and ",
           config_.vocab_size > 0 ? config_.vocab_size - 1 : std::numeric_limits<int32_t>::max());
}

void Scheduler::advance(int32_t slot, int32_t token, std::vector<RequestOutput>& events) {
  Running& running = at(slot);
  if (!running.ended) {  // else it ran past its end, or was cancelled
    RequestOutput& event = events.emplace_back();
    event.request = running.request;
    event.width = running.width;
    event.height = running.height;
    event.orientation_left = running.orientation_left;
    event.reused_images = running.reused;
    ++running.generated;
    const auto* eos = running.eos;
    if (eos != nullptr && std::find(eos->begin(), eos->end(), token) != eos->end()) {
      event.finish = FinishReason::eos;
      event.end_token = token;
    } else {
      event.token = token;
      if (running.generated == running.max_new_tokens) event.finish = FinishReason::length;
    }
    if (event.finish != FinishReason::no) end(*running.entry);
  }
  release_unnamed(slot);
}

}  // namespace lapidary
