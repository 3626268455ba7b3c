#include "configs/byte_budget.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "configs/error.h"

namespace lapidary {

struct ByteBudget::Share::State {
  State(int64_t bytes, std::string what) : all(bytes), kind(std::move(what)) {}

  const int64_t all;
  const std::string kind;
  int64_t held = 0, most_held = 0;
  uint64_t next_ticket = 0;  // served in order: a large piece is not passed by small ones for ever
  uint64_t serving = 0;
  bool waits = true;
  std::mutex mutex;
  std::condition_variable changed;
};

ByteBudget::Share::Share(std::shared_ptr<State> state, int64_t bytes)
    : state_(std::move(state)), bytes_(bytes) {}

ByteBudget::Share::Share(Share&& other) noexcept
    : state_(std::move(other.state_)), bytes_(std::exchange(other.bytes_, 0)) {}

ByteBudget::Share& ByteBudget::Share::operator=(Share&& other) noexcept {
  std::swap(state_, other.state_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

ByteBudget::Share::~Share() {
  if (!state_) return;
  const std::lock_guard lock(state_->mutex);
  state_->held -= bytes_;
  state_->changed.notify_all();
}

ByteBudget::ByteBudget(int64_t bytes, std::string kind)
    : state_(std::make_shared<Share::State>(bytes, std::move(kind))) {}

ByteBudget::~ByteBudget() = default;

ByteBudget::Share ByteBudget::take(int64_t bytes) {
  Share::State& state = *state_;
  if (bytes > state.all)
    fail("takes ", bytes, " bytes, more than the ", state.all, " that this process may hold ", state.kind);
  std::unique_lock lock(state.mutex);
  const uint64_t ticket = state.next_ticket++;
  state.changed.wait(
      lock, [&] { return state.serving == ticket && (!state.waits || state.held + bytes <= state.all); });
  ++state.serving;
  state.held += bytes;
  state.most_held = std::max(state.most_held, state.held);
  state.changed.notify_all();
  return {state_, bytes};
}

void ByteBudget::stop_waiting() {
  const std::lock_guard lock(state_->mutex);
  state_->waits = false;
  state_->changed.notify_all();
}

int64_t ByteBudget::all() const { return state_->all; }

int64_t ByteBudget::held() const {
  const std::lock_guard lock(state_->mutex);
  return state_->held;
}

int64_t ByteBudget::most_held() const {
  const std::lock_guard lock(state_->mutex);
  return state_->most_held;
}

}  // namespace lapidary
