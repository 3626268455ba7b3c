#include "sharding/comm/timed_comm.h"

#include <utility>

#include "configs/steady_time.h"

namespace lapidary {
namespace {

class TimedComm final : public Communicator {
 public:
  TimedComm(Communicator& comm, std::shared_ptr<const CommTimer> timer)
      : comm_(comm), timer_(std::move(timer)) {}
  TimedComm(std::unique_ptr<Communicator> comm, std::shared_ptr<const CommTimer> timer)
      : owned_(std::move(comm)), comm_(*owned_), timer_(std::move(timer)) {}

  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }

  void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) override {
    collective([&] { comm_.all_reduce(y, partials, finish); });
  }
  void all_gather(std::byte* out, std::span<const std::byte> mine, std::span<const size_t> sizes) override {
    collective([&] { comm_.all_gather(out, mine, sizes); });
  }
  void broadcast(std::byte* data, size_t bytes, int root) override {
    collective([&] { comm_.broadcast(data, bytes, root); });
  }
  void barrier() override { comm_.barrier(); }

  void send(std::span<const std::byte> data, int to, Channel channel) override {
    comm_.send(data, to, channel);
  }
  void receive(std::span<std::byte> data, int from, Channel channel) override {
    measure(CommWork::receive, [&] { comm_.receive(data, from, channel); });
  }
  bool progress() override { return comm_.progress(); }

  std::unique_ptr<Communicator> split(int color) override {
    return std::make_unique<TimedComm>(comm_.split(color), timer_);
  }
  void abort(int code) override { comm_.abort(code); }

 private:
  template <class Body>
  void collective(const Body& body) {
    if (comm_.size() == 1) return body();
    measure(CommWork::collective, body);
  }
  template <class Body>
  void measure(CommWork work, const Body& body) {
    const int64_t begin = steady_time();
    body();
    (*timer_)(work, begin, steady_time());
  }

  std::unique_ptr<Communicator> owned_;  // a group that this one split off
  Communicator& comm_;
  std::shared_ptr<const CommTimer> timer_;
};

}  // namespace

std::unique_ptr<Communicator> make_timed(Communicator& comm, CommTimer timer) {
  return std::make_unique<TimedComm>(comm, std::make_shared<const CommTimer>(std::move(timer)));
}

}  // namespace lapidary
