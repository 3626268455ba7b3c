#include "worker/token_feed.h"

#include <stdexcept>

namespace lapidary {
namespace {

/// Messages that are let wait: sequences that end at their first token are never asked for.
constexpr size_t kMostOwed = 64;

}  // namespace

void TokenFeed::sampled(std::span<const int32_t> places, std::span<const int32_t> tokens) {
  if (places.empty()) return;
  if (group_.last_stage()) {
    for (size_t i = 0; i < places.size(); ++i) sequences_[static_cast<size_t>(places[i])].token = tokens[i];
    if (group_.mesh.pp > 1) group_.replica.send(std::as_bytes(tokens), group_.peer(0), Channel::tokens);
  } else if (group_.first_stage()) {
    if (owed_.size() >= kMostOwed) receive();
    if (spare_.empty()) spare_.emplace_back();
    owed_.push_back(std::move(spare_.back()));
    spare_.pop_back();
    owed_.back().assign(places.begin(), places.end());
    newest_.resize(sequences_.size());
    ++promised_;
    for (int32_t place : places) newest_[static_cast<size_t>(place)] = promised_;
  }
}

void TokenFeed::wait_for(int32_t place) {
  if (newest_.empty()) return;  // one stage
  while (received_ < newest_[static_cast<size_t>(place)]) receive();
}

/// Messages come in order, so a place that another sequence has taken since gets its own token after this
/// one.
void TokenFeed::receive() {
  if (owed_.empty()) throw std::logic_error("no token is on its way");
  std::vector<int32_t> places = std::move(owed_.front());
  owed_.pop_front();
  ++received_;
  tokens_.resize(places.size());
  group_.replica.receive(std::as_writable_bytes(std::span(tokens_)), group_.peer(group_.mesh.pp - 1),
                         Channel::tokens);
  for (size_t i = 0; i < tokens_.size(); ++i) sequences_[static_cast<size_t>(places[i])].token = tokens_[i];
  spare_.push_back(std::move(places));
}

}  // namespace lapidary
