#include "sharding/comm/staged_comm.h"

namespace lapidary {
namespace {

/// Rows like these in host memory.
Tensor host_view(std::vector<std::byte>& buffer, Tensor like) {
  const size_t bytes = bytes_of(like).size();
  if (buffer.size() < bytes) buffer.resize(bytes);
  return view(buffer.data(), like.dtype, like.rows(), like.cols());
}

}  // namespace

Tensor StagedComm::fetched(std::vector<std::byte>& buffer, Tensor rows) {
  const Tensor bounce = host_view(buffer, rows);
  ops_.copy(bounce, rows);
  ops_.synchronize();
  return bounce;
}

void StagedComm::all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) {
  const Tensor mine = fetched(in_, partials);
  const Tensor sum = host_view(out_, y);
  host_.all_reduce(sum, mine, finish);
  ops_.copy(y, sum);
}

void StagedComm::all_gather(Tensor all, Tensor mine) {
  if (size() == 1) return ops_.copy(all, mine);
  const Tensor gathered = host_view(out_, all);
  make_host_rows(host_)->all_gather(gathered, fetched(in_, mine));
  ops_.copy(all, gathered);
}

void StagedComm::broadcast(Tensor rows, int root) {
  if (size() == 1) return;
  const Tensor bounce = rank() == root ? fetched(in_, rows) : host_view(in_, rows);
  host_.broadcast(bytes_of(bounce).data(), bytes_of(bounce).size(), root);
  if (rank() != root) ops_.copy(rows, bounce);
}

void StagedComm::send(Tensor rows, int to, Channel channel) {
  host_.send(bytes_of(fetched(in_, rows)), to, channel);
}

void StagedComm::receive(Tensor rows, int from, Channel channel) {
  const Tensor bounce = host_view(in_, rows);
  host_.receive(bytes_of(bounce), from, channel);
  ops_.copy(rows, bounce);
}

std::unique_ptr<DeviceComm> make_staged(Communicator& host, Backend& ops) {
  return std::make_unique<StagedComm>(host, ops);
}

}  // namespace lapidary
