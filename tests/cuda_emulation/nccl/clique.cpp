#include "tests/cuda_emulation/nccl/clique.h"

#include <cstring>

namespace lapidary::emulation {

Clique::Clique(int ranks) : ranks_(ranks), freed_(static_cast<size_t>(ranks)) {}

template <class Ready>
void Clique::wait(std::unique_lock<std::mutex>& lock, int rank, const Ready& ready) {
  const auto at = static_cast<size_t>(rank);
  changed_.wait(lock, [&] { return freed_[at] || ready(); });
  if (freed_[at]) throw std::runtime_error("a collective of an aborted communicator");
}

std::vector<Contribution> Clique::meet(int rank, uint64_t number, const Contribution& mine) {
  std::unique_lock lock(mutex_);
  Meeting& meeting = meetings_[number];
  meeting.brought.resize(static_cast<size_t>(ranks_));
  meeting.brought[static_cast<size_t>(rank)] = mine;
  if (++meeting.arrived == ranks_) changed_.notify_all();
  wait(lock, rank, [&] { return meeting.arrived == ranks_; });
  std::vector<Contribution> all = meeting.brought;
  if (++meeting.left == ranks_) meetings_.erase(number);
  for (const Contribution& one : all)
    if (one.kind != mine.kind || one.root != mine.root ||
        one.count * one.element != mine.count * mine.element)
      throw std::logic_error("ranks meet in different collectives");
  return all;
}

uint64_t Clique::post(int from, int to, const Contribution& data) {
  const std::lock_guard lock(mutex_);
  Mailbox& box = mailboxes_[{from, to}];
  box.letters.push_back(data);
  changed_.notify_all();
  return ++box.posted;
}

void Clique::await_taken(int from, int to, uint64_t number) {
  std::unique_lock lock(mutex_);
  Mailbox& box = mailboxes_[{from, to}];
  wait(lock, from, [&] { return box.taken >= number; });
}

void Clique::take(int from, int to, void* to_data, size_t bytes) {
  std::unique_lock lock(mutex_);
  Mailbox& box = mailboxes_[{from, to}];
  wait(lock, to, [&] { return !box.letters.empty(); });
  const Contribution letter = box.letters.front();
  if (letter.count * letter.element != bytes)
    throw std::logic_error("a message of another size than its receiver expects");
  std::memcpy(to_data, letter.from, bytes);
  box.letters.pop_front();
  ++box.taken;
  changed_.notify_all();
}

void Clique::free(int rank) {
  const std::lock_guard lock(mutex_);
  freed_[static_cast<size_t>(rank)] = true;
  changed_.notify_all();
}

}  // namespace lapidary::emulation
