#pragma once

#include <vector>

#include "sharding/comm/device_comm.h"

namespace lapidary {

/// Rows of a backend's memory travel by way of a host buffer, which grows to the largest of them at warm-up.
class StagedComm : public DeviceComm {
 public:
  StagedComm(Communicator& host, Backend& ops) : DeviceComm(host), ops_(ops) {}

  void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) override;
  void all_gather(Tensor all, Tensor mine) override;
  void broadcast(Tensor rows, int root) override;
  void send(Tensor rows, int to, Channel channel) override;
  void receive(Tensor rows, int from, Channel channel) override;

 protected:
  Backend& ops_;

 private:
  Tensor fetched(std::vector<std::byte>& buffer, Tensor rows);

  std::vector<std::byte> in_, out_;
};

}  // namespace lapidary
