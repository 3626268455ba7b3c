#include "coordinator/scheduler.h"

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

Limits checked(Limits limits) {
  if (limits.sequences < 1 || limits.page_tokens < 1 || limits.pp < 1 || limits.layers < 1)
    throw std::logic_error("a scheduler needs room for a sequence, and a stage");
  if (limits.rows < limits.sequences)
    fail("a step has room for ", limits.rows, " tokens, too few for one of each of ", limits.sequences,
         " sequences");
  if (limits.steps_in_flight < 1) limits.steps_in_flight = 2 * limits.pp;
  if (limits.layer_group < 1) limits.layer_group = limits.layers;
  return limits;
}

}  // namespace

Scheduler::Scheduler(const Limits& limits)
    : limits_(checked(limits)),
      slots_(limits_),
      waiters_(static_cast<size_t>(limits_.all_slots())),
      places_(static_cast<size_t>(limits_.sequences)),
      free_places_(numbers(limits_.sequences)),
      free_pages_(numbers(limits_.pages)),
      groups_(static_cast<size_t>(limits_.pp)),
      flights_(static_cast<size_t>(limits_.steps_in_flight)) {}

void Scheduler::submit(Request request) {
  check_request(limits_, request);
  if (by_id_.contains(request.id)) throw std::logic_error(cat("request ", request.id, " is submitted twice"));
  const uint64_t arrival = ++arrivals_;
  Entry& entry = entries_.emplace_hint(entries_.end(), arrival, Entry{})->second;
  entry.arrival = arrival;
  by_id_[request.id] = &entry;
  (request.images.empty() ? ready_ : waiting_)[arrival] = &entry;
  entry.request = std::move(request);
}

void Scheduler::cancel(uint64_t request) {
  const auto found = by_id_.find(request);
  if (found == by_id_.end()) return;
  Entry& entry = *found->second;
  for (Queue* queue : {&waiting_, &encoding_, &ready_}) queue->erase(entry.arrival);
  end(entry);
  if (entry.place >= 0)
    release_unnamed(entry.place);
  else
    forget(entry);
}

/// Slots for as many requests as they suffice for, strictly in order: one that needs many is not overtaken by
/// others that need few.
void Scheduler::stage() {
  while (!waiting_.empty()) {
    Entry& entry = *waiting_.begin()->second;
    auto slots = slots_.take(entry.request.images);
    if (!slots) return;
    entry.slots = std::move(*slots);
    for (const int32_t slot : entry.slots)
      if (!slots_.ready(slot)) {
        waiters_[static_cast<size_t>(slot)].push_back(entry.arrival);
        ++entry.encodes_left;
      }
    (entry.encodes_left == 0 ? ready_ : encoding_).insert(waiting_.extract(waiting_.begin()));
  }
}

std::vector<LaneEncode> Scheduler::next_encodes() {
  stage();
  return slots_.ordered();
}

std::vector<Event> Scheduler::encoded(const wire::Encoded& done) {
  const int32_t slot = slots_.encoded(done);
  std::vector<Event> events;
  for (const uint64_t arrival : std::exchange(waiters_[static_cast<size_t>(slot)], {}))
    if (done.error().empty())
      picture_ready(arrival);
    else
      picture_failed(arrival, done.error(), events);
  return events;
}

/// Who is not among those that wait for encodes any more was cancelled, or has failed.
void Scheduler::picture_ready(uint64_t arrival) {
  const auto found = encoding_.find(arrival);
  if (found == encoding_.end() || --found->second->encodes_left > 0) return;
  ready_.insert(encoding_.extract(found));
}

void Scheduler::picture_failed(uint64_t arrival, const std::string& error, std::vector<Event>& events) {
  const auto found = encoding_.find(arrival);
  if (found == encoding_.end()) return;
  Entry& entry = *found->second;
  encoding_.erase(found);
  Event& event = events.emplace_back();
  event.request = entry.request.id;
  event.finish = Finish::error;
  event.error = error;
  end(entry);
  forget(entry);
}

std::vector<Scheduler::Unfinished> Scheduler::take_all() {
  std::vector<Unfinished> all;
  for (auto& [arrival, entry] : entries_)
    if (entry.place < 0 || !at(entry.place).ended)
      all.push_back({std::move(entry.request), entry.place >= 0 || !entry.slots.empty()});
  *this = Scheduler(limits_);
  return all;
}

SchedulerCounts Scheduler::counts() const {
  SchedulerCounts counts;
  counts.waiting = waiting_.size();
  counts.encoding = encoding_.size();
  counts.ready = ready_.size();
  counts.running = places_.size() - free_places_.size();
  counts.steps = static_cast<size_t>(planned_ - finished_);
  counts.free_pages = free_pages_.size();
  counts.idle_slots = slots_.idle();
  counts.encodes = slots_.encodes();
  counts.shared = slots_.shared();
  return counts;
}

void Scheduler::end(Entry& entry) {
  by_id_.erase(entry.request.id);
  if (entry.place >= 0) at(entry.place).ended = true;
}

void Scheduler::release_slots(Entry& entry) {
  for (const int32_t slot : entry.slots) slots_.release(slot);
  entry.slots.clear();
}

void Scheduler::forget(Entry& entry) {
  release_slots(entry);
  entries_.erase(entry.arrival);
}

/// What has ended leaves its place once the workers do nothing with it any more.
void Scheduler::release_unnamed(int32_t place) {
  Running& running = at(place);
  if (!running.ended || running.last_step > finished_) return;
  const std::vector<int32_t>& pages = running.entry->pages;
  free_pages_.insert(free_pages_.end(), pages.begin(), pages.end());
  free_places_.push_back(place);
  forget(*running.entry);
  running = {};
}

}  // namespace lapidary
