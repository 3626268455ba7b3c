#include "sharding/comm/staged_comm.h"

namespace lapidary {

void Communicator::broadcast_rows(Tensor rows, int root) {
  broadcast(bytes_of(rows).data(), bytes_of(rows).size(), root);
}
void Communicator::send_rows(Tensor rows, int to, Channel channel) { send(bytes_of(rows), to, channel); }
void Communicator::receive_rows(Tensor rows, int from, Channel channel) {
  receive(bytes_of(rows), from, channel);
}
void Communicator::gather_rows(Tensor all, Tensor mine) {
  const std::vector<size_t> sizes(static_cast<size_t>(size()), bytes_of(mine).size());
  all_gather(bytes_of(all).data(), bytes_of(mine), sizes);
}

std::unique_ptr<Communicator> make_staged(Communicator& host, Backend& ops) {
  return std::make_unique<StagedComm>(host, ops);
}

}  // namespace lapidary
