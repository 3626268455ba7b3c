#include "worker/engine/token_feed.h"

#include <stdexcept>

namespace lapidary {
namespace {

/// Messages that are let wait: sequences that end at their first token are never asked for.
constexpr size_t kMaxOwed = 64;

}  // namespace

TokenFeed::TokenFeed(Backend& ops, const DeviceGroup& group, int64_t slots)
    : ops_(ops), group_(group), space_(ops), newest_(static_cast<size_t>(slots)) {
  if (!group.coord.decodes() || !group.first_stage()) return;
  token_table_ = space_.make(slots + 1, 1, DType::i32);
  if (group.mesh.pp > 1) arriving_ = space_.make(slots, 1, DType::i32);
}

void TokenFeed::sampled(std::span<const int32_t> slots, Tensor tokens) {
  if (slots.empty()) return;
  if (group_.last_stage()) {
    group_.replica.send(tokens, group_.peer(0), Channel::tokens);
  } else if (group_.first_stage()) {
    if (owed_.size() >= kMaxOwed) receive();
    if (spare_.empty()) spare_.emplace_back();
    owed_.push_back(std::move(spare_.back()));
    spare_.pop_back();
    owed_.back().assign(slots.begin(), slots.end());
    ++promised_;
    for (int32_t slot : slots) newest_[static_cast<size_t>(slot)] = promised_;
  }
}

void TokenFeed::wait_for(int32_t slot) {
  while (received_ < newest_[static_cast<size_t>(slot)]) receive();
}

/// Messages come in order, so a slot that another sequence has taken since gets its own token after this
/// one.
void TokenFeed::receive() {
  if (owed_.empty()) throw std::logic_error("no token is on its way");
  std::vector<int32_t> slots = std::move(owed_.front());
  owed_.pop_front();
  ++received_;
  const Tensor tokens = arriving_.row_range(0, std::ssize(slots));
  group_.replica.receive(tokens, group_.peer(group_.mesh.pp - 1), Channel::tokens);
  ops_.scatter(token_table_, slots, tokens);
  spare_.push_back(std::move(slots));
}

}  // namespace lapidary
