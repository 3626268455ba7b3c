#include "coordinator/schedule/dispatcher.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "configs/error.h"

namespace lapidary {

Dispatcher::Dispatcher(const DispatchOptions& options) : options_(options) {
  if (options.deaths < 1) throw std::logic_error("a request survives no less than no death");
  for (int replica = 0; replica < options.replicas; ++replica) awaited_.insert(replica);
}

void Dispatcher::submit(Request request) {
  const auto any = std::find_if(replicas_.begin(), replicas_.end(),
                                [](const Replica& r) { return r.scheduler.has_value(); });
  if (any != replicas_.end()) check_request(any->scheduler->config(), request);
  const auto [known, is_new] = known_.try_emplace(request.id);
  if (!is_new) throw std::logic_error(cat("request ", request.id, " is submitted twice"));
  known->second.key = {request.priority, ++arrivals_};
  fresh_.emplace(known->second.key, std::move(request));
  wake_idle();
}

size_t Dispatcher::room() const { return options_.queue - std::min(options_.queue, queued()); }

void Dispatcher::cancel(uint64_t request) {
  const auto found = known_.find(request);
  if (found == known_.end()) return;
  const Known known = found->second;
  if (known.replica >= 0) {
    replicas_[static_cast<size_t>(known.replica)].scheduler->cancel(request);
    mark_due(known.replica);
  } else {
    for (Queue* queue : {&returned_, &fresh_}) queue->erase(known.key);
  }
  end(request);
}

// ---- replicas come and go

void Dispatcher::join(int replica, const SchedulerConfig& config) {
  if (replica < 0) throw std::logic_error("replicas are counted from 0");
  if (static_cast<size_t>(replica) >= replicas_.size()) replicas_.resize(static_cast<size_t>(replica) + 1);
  Replica& joining = replicas_[static_cast<size_t>(replica)];
  if (joining.scheduler) throw std::logic_error(cat("replica ", replica, " joins twice"));
  joining.scheduler.emplace(config);
  ++live_;
  awaited_.erase(replica);
  mark_due(replica);
}

void Dispatcher::give_up(int replica) {
  if (awaited_.erase(replica) == 0) return;
  for (size_t i = 0; i < replicas_.size(); ++i)
    if (replicas_[i].scheduler) mark_due(static_cast<int>(i));
}

std::vector<RequestOutput> Dispatcher::leave(int replica) {
  std::vector<RequestOutput> events;
  if (scheduler(replica) == nullptr) return events;
  set_idle(replica, std::nullopt);
  Replica& dead = replicas_[static_cast<size_t>(replica)];
  auto unfinished = dead.scheduler->take_all();
  aboard_ -= unfinished.size();
  --live_;
  dead.scheduler.reset();
  dead.suspects = 0;
  for (auto& [request, begun] : unfinished) {
    Known& known = known_.at(request.id);
    known.replica = -1;
    known.deaths += begun ? 1 : 0;
    RequestOutput& event = events.emplace_back();
    event.request = request.id;
    if (known.deaths < options_.deaths) {
      event.restarted = true;
      returned_.emplace(known.key, std::move(request));
      wake_idle();
    } else {
      event.finish = FinishReason::error;
      event.crashed = true;
      event.error = cat("given up: the workers that ran it died ", known.deaths, " times, no more than ",
                        options_.deaths - 1, " are forgiven");
      known_.erase(request.id);
    }
  }
  return events;
}

const Scheduler* Dispatcher::scheduler(int replica) const {
  if (replica < 0 || static_cast<size_t>(replica) >= replicas_.size()) return nullptr;
  const auto& scheduler = replicas_[static_cast<size_t>(replica)].scheduler;
  return scheduler ? &*scheduler : nullptr;
}

// ---- what workers say

std::vector<RequestOutput> Dispatcher::finish(int replica, const wire::StepDone& done) {
  return settle(replica, joined(replica).scheduler->finish(done));
}

std::vector<RequestOutput> Dispatcher::encoded(int replica, const wire::Encoded& done) {
  return settle(replica, joined(replica).scheduler->encoded(done));
}

Dispatcher::Replica& Dispatcher::joined(int replica) {
  if (scheduler(replica) == nullptr) fail("replica ", replica, " is not there, but its workers answer");
  return replicas_[static_cast<size_t>(replica)];
}

std::vector<RequestOutput> Dispatcher::settle(int replica, std::vector<RequestOutput> events) {
  mark_due(replica);
  for (const RequestOutput& event : events)
    if (event.finish != FinishReason::no) end(event.request);
  return events;
}

void Dispatcher::end(uint64_t request) {
  const auto known = known_.find(request);
  if (known->second.replica >= 0) {
    --aboard_;
    if (known->second.deaths > 0) --replicas_[static_cast<size_t>(known->second.replica)].suspects;
  }
  known_.erase(known);
}

// ---- who is asked next

void Dispatcher::mark_due(int replica) {
  Replica& marked = replicas_[static_cast<size_t>(replica)];
  if (!marked.due) due_.push_back(replica);
  marked.due = true;
}

/// One request more is there: it goes to who has least to do of those that found none.
void Dispatcher::wake_idle() {
  if (idle_replicas_.empty()) return;
  const int replica = idle_replicas_.begin()->second;
  set_idle(replica, std::nullopt);
  mark_due(replica);
}

/// Who is due keeps its entry until it is asked: most find that nothing has changed.
void Dispatcher::set_idle(int replica, std::optional<size_t> load) {
  std::optional<size_t>& idle = replicas_[static_cast<size_t>(replica)].idle;
  if (idle == load) return;
  if (idle) idle_replicas_.erase({*idle, replica});
  if (load) idle_replicas_.insert({*load, replica});
  idle = load;
}

std::optional<Actions> Dispatcher::poll() {
  while (!due_.empty()) {
    Actions actions;
    actions.replica = due_.front();
    due_.pop_front();
    Replica& replica = replicas_[static_cast<size_t>(actions.replica)];
    replica.due = false;
    if (!replica.scheduler) continue;
    ask(actions.replica, actions);
    if (!actions.encodes.empty() || !actions.steps.empty() || !actions.events.empty()) return actions;
  }
  return std::nullopt;
}

void Dispatcher::ask(int index, Actions& actions) {
  Replica& replica = replicas_[static_cast<size_t>(index)];
  Scheduler& scheduler = *replica.scheduler;
  std::optional<wire::Step> step;
  do {  // a step makes room for others to wait
    top_up(index, actions);
    auto encodes = scheduler.next_encodes();
    std::move(encodes.begin(), encodes.end(), std::back_inserter(actions.encodes));
    step = scheduler.next();
    if (step) actions.steps.push_back(std::move(*step));
  } while (step);
  set_idle(index, has_room(scheduler) ? std::optional(scheduler.unfinished()) : std::nullopt);
}

// ---- who takes what

/// As many wait in a replica as its slots and its sequence slots suffice for; the others stay where every
/// replica can take them.
bool Dispatcher::has_room(const Scheduler& scheduler) {
  const SchedulerConfig& config = scheduler.config();
  return scheduler.waiting() <
         static_cast<size_t>(std::max(config.all_slots(), config.capacity.max_num_seqs()));
}

void Dispatcher::top_up(int index, Actions& actions) {
  Replica& replica = replicas_[static_cast<size_t>(index)];
  const size_t replicas = live_ + awaited_.size();
  while (has_room(*replica.scheduler)) {
    const size_t share = (aboard_ + queued() + replicas - 1) / replicas;
    Queue* queue = replica.scheduler->unfinished() < share ? queue_for(replica) : nullptr;
    if (queue == nullptr) return;
    take(index, *queue, actions);
  }
}

/// What has returned comes first, but for suspects when there are enough of them aboard.
Dispatcher::Queue* Dispatcher::queue_for(const Replica& replica) {
  if (!returned_.empty()) {
    const int deaths = known_.at(returned_.begin()->second.id).deaths;
    if (deaths == 0 || replica.suspects < limit_with(replica, deaths)) return &returned_;
  }
  return fresh_.empty() ? nullptr : &fresh_;
}

/// Four times fewer suspects together with each death: the last time, one is aboard alone with requests that
/// nothing is held against.
size_t Dispatcher::limit_with(const Replica& replica, int deaths) const {
  const int doublings = std::min(2 * (options_.deaths - 1 - deaths), 30);
  const size_t limit = size_t{1} << doublings;
  return replica.suspects == 0 ? limit : std::min(limit, replica.suspect_limit);
}

void Dispatcher::take(int index, Queue& queue, Actions& actions) {
  Replica& replica = replicas_[static_cast<size_t>(index)];
  auto taken = queue.extract(queue.begin());
  const uint64_t id = taken.mapped().id;
  Known& known = known_.at(id);
  try {
    replica.scheduler->submit(std::move(taken.mapped()));
  } catch (const Error& refusal) {
    RequestOutput& event = actions.events.emplace_back();
    event.request = id;
    event.finish = FinishReason::error;
    event.error = refusal.what();
    known_.erase(id);
    return;
  }
  known.replica = index;
  ++aboard_;
  if (known.deaths == 0) return;
  replica.suspect_limit = limit_with(replica, known.deaths);
  ++replica.suspects;
}

}  // namespace lapidary
