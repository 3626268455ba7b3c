#include "coordinator/schedule/scheduler.h"

#include <algorithm>
#include <stdexcept>

#include "configs/error.h"

namespace lapidary {
namespace {

/// 0 … n-1, the lowest last, so that it is taken first.
std::vector<int32_t> numbers(int64_t n) {
  std::vector<int32_t> all(static_cast<size_t>(n));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(all.size() - 1 - i);
  return all;
}

SchedulerConfig checked(SchedulerConfig config) {
  if (config.capacity.max_num_seqs() < 1 || config.capacity.kv_page_tokens() < 1 || config.pp < 1 ||
      config.capacity.num_layers() < 1)
    throw std::logic_error("a scheduler needs room for a sequence, and a stage");
  if (config.capacity.max_num_batched_tokens() < config.capacity.max_num_seqs())
    fail("a step has room for ", config.capacity.max_num_batched_tokens(),
         " tokens, too few for one of each of ", config.capacity.max_num_seqs(), " sequences");
  if (config.max_steps_in_flight < 1) config.max_steps_in_flight = 2 * config.pp;
  if (config.layer_group < 1) config.layer_group = config.capacity.num_layers();
  return config;
}

}  // namespace

Scheduler::Scheduler(const SchedulerConfig& config)
    : config_(checked(config)),
      cache_slots_(config_),
      waiters_(static_cast<size_t>(config_.all_slots())),
      sequence_slots_(static_cast<size_t>(config_.capacity.max_num_seqs())),
      free_sequence_slots_(numbers(config_.capacity.max_num_seqs())),
      free_pages_(numbers(config_.capacity.num_kv_pages())),
      groups_(static_cast<size_t>(config_.pp)),
      in_flight_(static_cast<size_t>(config_.max_steps_in_flight)) {}

void Scheduler::submit(Request request) {
  check_request(config_, request);
  const auto [known, is_new] = by_id_.try_emplace(request.id);
  if (!is_new) throw std::logic_error(cat("request ", request.id, " is submitted twice"));
  Entry& entry = new_entry();
  known->second = &entry;
  entry.request = std::move(request);
  (entry.request.images.empty() ? ready_ : waiting_).insert(entry);
}

Scheduler::Entry& Scheduler::new_entry() {
  if (free_entries_.empty()) free_entries_.push_back(&entries_.emplace_back());
  Entry& entry = *free_entries_.back();
  free_entries_.pop_back();
  entry.arrival = ++arrivals_;
  return entry;
}

void Scheduler::cancel(uint64_t request) {
  const auto found = by_id_.find(request);
  if (found == by_id_.end()) return;
  Entry& entry = *found->second;
  for (Queue* queue : {&waiting_, &encoding_, &ready_}) queue->erase(entry.arrival);
  end(entry);
  if (entry.slot >= 0)
    release_unnamed(entry.slot);
  else
    forget(entry);
}

/// Slots for as many requests as they suffice for, strictly in order: one that needs many is not overtaken by
/// others that need few.
void Scheduler::stage() {
  while (!waiting_.empty()) {
    Entry& entry = waiting_.front();
    const uint64_t shared = cache_slots_.shared();
    auto slots = cache_slots_.take(entry.request.images);
    if (!slots) return;
    entry.reused = static_cast<int32_t>(cache_slots_.shared() - shared);
    entry.slots = std::move(*slots);
    for (const int32_t slot : entry.slots)
      if (!cache_slots_.ready(slot)) {
        waiters_[static_cast<size_t>(slot)].push_back(entry.arrival);
        ++entry.encodes_left;
      }
    (entry.encodes_left == 0 ? ready_ : encoding_).insert(waiting_.pop());
  }
}

std::vector<LaneEncode> Scheduler::next_encodes() {
  stage();
  return cache_slots_.ordered();
}

std::vector<RequestOutput> Scheduler::encoded(const wire::Encoded& done) {
  const int32_t slot = cache_slots_.encoded(done);
  std::vector<RequestOutput> events;
  for (const uint64_t arrival : std::exchange(waiters_[static_cast<size_t>(slot)], {}))
    if (done.error().empty())
      picture_ready(arrival);
    else
      picture_failed(arrival, done.error(), events);
  return events;
}

/// Who is not among those that wait for encodes any more was cancelled, or has failed.
void Scheduler::picture_ready(uint64_t arrival) {
  Entry* entry = encoding_.find(arrival);
  if (entry == nullptr || --entry->encodes_left > 0) return;
  encoding_.erase(arrival);
  ready_.insert(*entry);
}

void Scheduler::picture_failed(uint64_t arrival, const std::string& error,
                               std::vector<RequestOutput>& events) {
  Entry* entry = encoding_.find(arrival);
  if (entry == nullptr) return;
  encoding_.erase(arrival);
  RequestOutput& event = events.emplace_back();
  event.request = entry->request.id;
  event.finish = FinishReason::error;
  event.error = error;
  end(*entry);
  forget(*entry);
}

std::vector<Scheduler::Unfinished> Scheduler::take_all() {
  std::vector<Entry*> entries;
  for (Entry& entry : entries_)
    if (entry.arrival > 0 && (entry.slot < 0 || !at(entry.slot).ended)) entries.push_back(&entry);
  std::sort(entries.begin(), entries.end(),
            [](const Entry* a, const Entry* b) { return a->arrival < b->arrival; });
  std::vector<Unfinished> all;
  for (Entry* entry : entries)
    all.push_back({std::move(entry->request), entry->slot >= 0 || !entry->slots.empty()});
  *this = Scheduler(config_);
  return all;
}

SchedulerCounts Scheduler::counts() const {
  SchedulerCounts counts;
  counts.waiting = waiting_.size();
  counts.encoding = encoding_.size();
  counts.ready = ready_.size();
  counts.running = sequence_slots_.size() - free_sequence_slots_.size();
  counts.steps = static_cast<size_t>(planned_ - finished_);
  counts.free_pages = free_pages_.size();
  counts.idle_slots = cache_slots_.idle();
  counts.encodes = cache_slots_.encodes();
  counts.shared = cache_slots_.shared();
  return counts;
}

void Scheduler::end(Entry& entry) {
  by_id_.erase(entry.request.id);
  if (entry.slot >= 0) at(entry.slot).ended = true;
}

void Scheduler::release_slots(Entry& entry) {
  for (const int32_t slot : entry.slots) cache_slots_.release(slot);
  entry.slots.clear();
}

void Scheduler::forget(Entry& entry) {
  release_slots(entry);
  entry.request = {};
  entry.arrival = 0;
  entry.encodes_left = 0;
  entry.reused = 0;
  entry.slot = -1;
  free_entries_.push_back(&entry);
}

/// What has ended leaves its place once the workers do nothing with it any more.
void Scheduler::release_unnamed(int32_t slot) {
  Running& running = at(slot);
  if (!running.ended || running.last_step > finished_) return;
  const std::vector<int32_t>& pages = running.entry->pages;
  free_pages_.insert(free_pages_.end(), pages.begin(), pages.end());
  free_sequence_slots_.push_back(slot);
  forget(*running.entry);
  running = {};
}

// ---- requests in order of arrival

std::deque<Scheduler::Queue::QueuePosition>::const_iterator Scheduler::Queue::at(uint64_t arrival) const {
  return std::lower_bound(entries_.begin(), entries_.end(), arrival,
                          [](const QueuePosition& slot, uint64_t number) { return slot.arrival < number; });
}

Scheduler::Entry* Scheduler::Queue::find(uint64_t arrival) const {
  const auto found = at(arrival);
  return found != entries_.end() && found->arrival == arrival ? found->entry : nullptr;
}

void Scheduler::Queue::insert(Entry& entry) { entries_.insert(at(entry.arrival), {entry.arrival, &entry}); }

void Scheduler::Queue::erase(uint64_t arrival) {
  const auto found = at(arrival);
  if (found != entries_.end() && found->arrival == arrival) entries_.erase(found);
}

Scheduler::Entry& Scheduler::Queue::pop() {
  Entry& first = front();
  entries_.pop_front();
  return first;
}

}  // namespace lapidary
