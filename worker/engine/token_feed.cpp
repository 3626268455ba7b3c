#include "worker/engine/token_feed.h"

#include <stdexcept>

namespace lapidary {
namespace {

/// Messages that are let wait: sequences that end at their first token are never asked for.
constexpr size_t kMostOwed = 64;

}  // namespace

TokenFeed::TokenFeed(Backend& ops, const Group& group, int64_t places)
    : ops_(ops), group_(group), space_(ops), newest_(static_cast<size_t>(places)) {
  if (!group.place.decodes() || !group.first_stage()) return;
  board_ = space_.make(places + 1, 1, DType::i32);
  if (group.mesh.pp > 1) arriving_ = space_.make(places, 1, DType::i32);
}

void TokenFeed::sampled(std::span<const int32_t> places, Tensor tokens) {
  if (places.empty()) return;
  if (group_.last_stage()) {
    group_.replica.send_rows(tokens, group_.peer(0), Channel::tokens);
  } else if (group_.first_stage()) {
    if (owed_.size() >= kMostOwed) receive();
    if (spare_.empty()) spare_.emplace_back();
    owed_.push_back(std::move(spare_.back()));
    spare_.pop_back();
    owed_.back().assign(places.begin(), places.end());
    ++promised_;
    for (int32_t place : places) newest_[static_cast<size_t>(place)] = promised_;
  }
}

void TokenFeed::wait_for(int32_t place) {
  while (received_ < newest_[static_cast<size_t>(place)]) receive();
}

/// Messages come in order, so a place that another sequence has taken since gets its own token after this
/// one.
void TokenFeed::receive() {
  if (owed_.empty()) throw std::logic_error("no token is on its way");
  std::vector<int32_t> places = std::move(owed_.front());
  owed_.pop_front();
  ++received_;
  const Tensor tokens = arriving_.row_range(0, std::ssize(places));
  group_.replica.receive_rows(tokens, group_.peer(group_.mesh.pp - 1), Channel::tokens);
  ops_.scatter(board_, places, tokens);
  spare_.push_back(std::move(places));
}

}  // namespace lapidary
