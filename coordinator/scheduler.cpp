#include "coordinator/scheduler.h"

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

std::vector<int32_t> take(std::vector<int32_t>& from, int64_t n) {
  const auto first = from.end() - n;
  std::vector<int32_t> taken(first, from.end());
  from.erase(first, from.end());
  return taken;
}

void give_back(std::vector<int32_t>& to, std::vector<int32_t>& taken) {
  to.insert(to.end(), taken.begin(), taken.end());
  taken.clear();
}

}  // namespace

Scheduler::Scheduler(const Limits& limits)
    : limits_(limits), free_pages_(numbers(limits.pages)), free_slots_(numbers(limits.slots)) {
  if (limits.sequences < 1 || limits.page_tokens < 1)
    throw std::logic_error("a scheduler needs room for a sequence");
  if (limits.rows < limits.sequences)
    fail("a step has room for ", limits.rows, " tokens, too few for one of each of ", limits.sequences,
         " sequences");
}

/// The last token that is generated is never fed back, so it needs no place in the cache.
int64_t Scheduler::pages_for(const Request& request) const {
  const int64_t tokens = static_cast<int64_t>(request.prefix.size()) + request.max_new_tokens - 1;
  return (tokens + limits_.page_tokens - 1) / limits_.page_tokens;
}

void Scheduler::submit(Request request) {
  const auto prefix = static_cast<int64_t>(request.prefix.size());
  if (prefix == 0) fail("a prompt needs at least one token");
  if (request.max_new_tokens < 1)
    fail("max_new_tokens is ", request.max_new_tokens, ", at least 1 is needed");
  if (prefix + request.max_new_tokens > limits_.length)
    fail("image and prompt are ", prefix, " tokens and up to ", request.max_new_tokens,
         " are to be generated: ", prefix + request.max_new_tokens, ", but a sequence may have ",
         limits_.length, " (--max-model-len)");
  if (prefix > limits_.rows)
    fail("image and prompt are ", prefix, " tokens, but a step has room for ", limits_.rows);
  if (request.images > limits_.slots)
    fail("the prompt has ", request.images, " images, but there is room for ", limits_.slots);
  if (pages_for(request) > limits_.pages)
    fail("the sequence may need ", pages_for(request), " KV pages, but there are ", limits_.pages);
  waiting_.push_back(std::move(request));
}

void Scheduler::cancel(uint64_t id) {
  std::erase_if(waiting_, [&](const Request& r) { return r.id == id; });
  const auto found =
      std::find_if(running_.begin(), running_.end(), [&](const Sequence& s) { return s.request.id == id; });
  if (found == running_.end()) return;
  if (in_flight_) {
    found->ended = true;  // the workers are writing to its pages
  } else {
    release(*found);
    running_.erase(found);
  }
}

bool Scheduler::fits(const Request& request, int64_t rows) const {
  return running_.size() < static_cast<size_t>(limits_.sequences) &&
         rows + static_cast<int64_t>(request.prefix.size()) <= limits_.rows &&
         pages_for(request) <= static_cast<int64_t>(free_pages_.size()) &&
         request.images <= static_cast<int64_t>(free_slots_.size());
}

std::optional<Plan> Scheduler::next() {
  if (in_flight_) throw std::logic_error("a step is planned while another runs");
  Plan plan;
  for (const Sequence& sequence : running_) add_decode_rows(sequence, plan.step);
  auto rows = static_cast<int64_t>(running_.size());
  while (!waiting_.empty() && fits(waiting_.front(), rows)) {
    rows += static_cast<int64_t>(waiting_.front().prefix.size());
    admit(std::move(waiting_.front()), plan);
    waiting_.pop_front();
  }
  if (plan.step.rows().empty()) return std::nullopt;
  in_flight_ = true;
  return plan;
}

void Scheduler::add_decode_rows(const Sequence& sequence, wire::Step& step) const {
  wire::Rows& rows = *step.add_rows();
  const auto prefix = static_cast<int64_t>(sequence.request.prefix.size());
  rows.set_request(sequence.request.id);
  rows.set_position(prefix + sequence.generated - 1);
  rows.set_prefix(prefix);
  rows.add_ids(sequence.last);
  rows.mutable_pages()->Add(sequence.pages.begin(), sequence.pages.end());
  *rows.mutable_sampling() = sequence.request.sampling;
}

void Scheduler::admit(Request request, Plan& plan) {
  Sequence sequence;
  sequence.pages = take(free_pages_, pages_for(request));
  sequence.slots = take(free_slots_, request.images);
  for (int64_t i = 0; i < request.images; ++i) {
    plan.step.add_encodes()->set_slot(sequence.slots[static_cast<size_t>(i)]);
    plan.images.push_back({request.id, i});
  }
  wire::Rows& rows = *plan.step.add_rows();
  rows.set_request(request.id);
  rows.set_prefix(static_cast<int64_t>(request.prefix.size()));
  rows.mutable_ids()->Add(request.prefix.begin(), request.prefix.end());
  rows.mutable_pages()->Add(sequence.pages.begin(), sequence.pages.end());
  rows.mutable_slots()->Add(sequence.slots.begin(), sequence.slots.end());
  *rows.mutable_sampling() = request.sampling;
  sequence.request = std::move(request);
  running_.push_back(std::move(sequence));
}

std::vector<Event> Scheduler::finish(const wire::StepDone& done) {
  if (!in_flight_) throw std::logic_error("a step ends that was never planned");
  if (static_cast<size_t>(done.tokens_size()) != running_.size())
    throw std::logic_error(
        cat("a step of ", running_.size(), " sequences came back with ", done.tokens_size(), " tokens"));
  in_flight_ = false;
  std::vector<Event> events;
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = running_[i];
    give_back(free_slots_, sequence.slots);
    if (!sequence.ended) {  // else cancelled while the step ran
      events.push_back(advance(sequence, done.tokens(static_cast<int>(i))));
      sequence.ended = events.back().finish != Finish::no;
    }
    if (sequence.ended) release(sequence);
  }
  std::erase_if(running_, [](const Sequence& s) { return s.ended; });
  return events;
}

Event Scheduler::advance(Sequence& sequence, int32_t token) const {
  const Request& request = sequence.request;
  if (std::find(request.eos.begin(), request.eos.end(), token) != request.eos.end())
    return {request.id, std::nullopt, Finish::eos};
  sequence.last = token;
  const bool full = ++sequence.generated == request.max_new_tokens;
  return {request.id, token, full ? Finish::length : Finish::no};
}

void Scheduler::release(Sequence& sequence) {
  give_back(free_pages_, sequence.pages);
  give_back(free_slots_, sequence.slots);
}

}  // namespace lapidary
