#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/comm/tree_finish.h"

namespace lapidary {
namespace {

/// Thrown in the ranks whose peer failed, so that they leave their collective; never seen outside
/// run_threads.
struct PeerFailed : std::runtime_error {
  PeerFailed() : std::runtime_error("another rank failed") {}
};

/// What the threads of one group share: a barrier that can fail, and a place for each rank to show a pointer,
/// and a mailbox for each channel from one rank to another.
struct Group {
  explicit Group(int n) : size(n), shown(static_cast<size_t>(n)) {}

  const int size;
  std::vector<const void*> shown;
  std::map<std::tuple<int, int, Channel>, std::deque<std::vector<std::byte>>> mailboxes;  // from, to, channel
  std::mutex mutex;
  std::condition_variable changed;
  int waiting = 0;
  uint64_t round = 0;
  bool failed = false;
  std::map<int, std::shared_ptr<Group>> children;  // of a split under way
  std::vector<std::weak_ptr<Group>> born;          // all ever split off, so that a failure reaches them

  void meet() {
    std::unique_lock lock(mutex);
    if (failed) throw PeerFailed();
    const uint64_t mine = round;
    if (++waiting == size) {
      waiting = 0;
      ++round;
      changed.notify_all();
      return;
    }
    changed.wait(lock, [&] { return round != mine || failed; });
    if (round == mine) throw PeerFailed();
  }

  void post(std::tuple<int, int, Channel> box, std::span<const std::byte> data) {
    {
      std::lock_guard lock(mutex);
      if (failed) throw PeerFailed();
      mailboxes[box].emplace_back(data.begin(), data.end());
    }
    changed.notify_all();
  }

  std::vector<std::byte> take(std::tuple<int, int, Channel> box) {
    std::unique_lock lock(mutex);
    auto& letters = mailboxes[box];  // stays where it is while others are added
    changed.wait(lock, [&] { return !letters.empty() || failed; });
    if (failed) throw PeerFailed();
    std::vector<std::byte> letter = std::move(letters.front());
    letters.pop_front();
    return letter;
  }

  void fail() {
    std::vector<std::weak_ptr<Group>> groups;
    {
      std::lock_guard lock(mutex);
      failed = true;
      groups = born;
    }
    changed.notify_all();
    for (auto& group : groups)
      if (auto alive = group.lock()) alive->fail();
  }
};

class ThreadComm final : public Communicator {
 public:
  ThreadComm(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_->size; }

  void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) override {
    const int64_t n = y.rows() * y.cols();
    const auto all = show_all(partials.data);
    std::vector<const float*> blocks;
    for (size_t r = 0; r < all.size(); ++r)
      for (int b = 0; b < finish.blocks[r]; ++b) blocks.push_back(static_cast<const float*>(all[r]) + b * n);
    finish_tree(y.row<float>(0), blocks, finish.merges, n);
    group_->meet();  // nobody reuses its partials while another still reads them
  }

  void all_gather(std::byte* out, std::span<const std::byte> mine, std::span<const size_t> sizes) override {
    const auto all = show_all(mine.data());
    for (size_t r = 0; r < all.size(); ++r) {
      if (sizes[r] > 0) std::memcpy(out, all[r], sizes[r]);
      out += sizes[r];
    }
    group_->meet();
  }

  void broadcast(std::byte* data, size_t bytes, int root) override {
    const auto all = show_all(data);
    if (rank_ != root && bytes > 0) std::memcpy(data, all[static_cast<size_t>(root)], bytes);
    group_->meet();
  }

  void barrier() override { group_->meet(); }

  void send(std::span<const std::byte> data, int to, Channel channel) override {
    if (to < 0 || to >= size() || to == rank_)
      throw std::logic_error("a message to no other rank of the group");
    group_->post({rank_, to, channel}, data);
  }

  void receive(std::span<std::byte> data, int from, Channel channel) override {
    const auto letter = group_->take({from, rank_, channel});
    if (letter.size() != data.size()) throw std::logic_error("a message of another size than expected");
    if (!letter.empty()) std::memcpy(data.data(), letter.data(), letter.size());
  }

  bool progress() override { return false; }  // a message is there once it is sent

  std::unique_ptr<Communicator> split(int color) override {
    const auto colors = show_all(&color);
    int place = 0, count = 0;
    for (int r = 0; r < size(); ++r) {
      if (*static_cast<const int*>(colors[static_cast<size_t>(r)]) != color) continue;
      if (r < rank_) ++place;
      ++count;
    }
    std::shared_ptr<Group> group;
    {
      std::lock_guard lock(group_->mutex);
      auto& child = group_->children[color];
      if (!child) {
        child = std::make_shared<Group>(count);
        group_->born.push_back(child);
      }
      group = child;
    }
    group_->meet();
    if (rank_ == 0) group_->children.clear();
    group_->meet();
    return std::make_unique<ThreadComm>(std::move(group), place);
  }

  void abort(int code) override { std::_Exit(code); }

 private:
  std::vector<const void*> show_all(const void* mine) {
    group_->meet();
    group_->shown[static_cast<size_t>(rank_)] = mine;
    group_->meet();
    return group_->shown;
  }

  std::shared_ptr<Group> group_;
  int rank_;
};

}  // namespace

void run_threads(int size, const std::function<void(Communicator&)>& body) {
  auto group = std::make_shared<Group>(size);
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      ThreadComm comm(group, r);
      try {
        body(comm);
      } catch (const PeerFailed&) {
        group->fail();
      } catch (...) {
        {
          std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
        }
        group->fail();
      }
    });
  for (auto& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace lapidary
