#include <utility>
#include <vector>

#include "sharding/comm/device_comm.h"

namespace lapidary {
namespace {

class HostRows final : public DeviceComm {
 public:
  explicit HostRows(Communicator& host) : DeviceComm(host) {}
  explicit HostRows(std::unique_ptr<Communicator> host) : DeviceComm(*host), owned_(std::move(host)) {}

  void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) override {
    host_.all_reduce(y, partials, finish);
  }
  void all_gather(Tensor all, Tensor mine) override {
    const std::vector<size_t> sizes(static_cast<size_t>(size()), bytes_of(mine).size());
    host_.all_gather(bytes_of(all).data(), bytes_of(mine), sizes);
  }
  void broadcast(Tensor rows, int root) override {
    host_.broadcast(bytes_of(rows).data(), bytes_of(rows).size(), root);
  }
  void send(Tensor rows, int to, Channel channel) override { host_.send(bytes_of(rows), to, channel); }
  void receive(Tensor rows, int from, Channel channel) override {
    host_.receive(bytes_of(rows), from, channel);
  }

 private:
  std::unique_ptr<Communicator> owned_;
};

}  // namespace

std::unique_ptr<DeviceComm> make_host_rows(Communicator& host) { return std::make_unique<HostRows>(host); }
std::unique_ptr<DeviceComm> make_solo_rows() { return std::make_unique<HostRows>(make_solo()); }

}  // namespace lapidary
