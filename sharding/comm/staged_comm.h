#pragma once

#include <vector>

#include "sharding/comm/communicator.h"

namespace lapidary {

/// The bytes of contiguous rows.
inline std::span<std::byte> bytes_of(Tensor rows) {
  return {static_cast<std::byte*>(rows.data),
          static_cast<size_t>(rows.rows() * rows.cols()) * size_of(rows.dtype)};
}

/// Rows of a backend's memory travel by way of a host buffer, which grows to the largest of them at warm-up.
class StagedComm : public Communicator {
 public:
  StagedComm(Communicator& host, Backend& ops) : host_(host), ops_(ops) {}

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }

  void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) override {
    const Tensor mine = fetched(in_, partials);
    const Tensor sum = host_view(out_, y);
    host_.all_reduce(sum, mine, finish);
    ops_.copy(y, sum);
  }
  void all_gather(std::byte* out, std::span<const std::byte> mine, std::span<const size_t> sizes) override {
    host_.all_gather(out, mine, sizes);
  }
  void broadcast(std::byte* data, size_t bytes, int root) override { host_.broadcast(data, bytes, root); }
  void barrier() override { host_.barrier(); }

  void send(std::span<const std::byte> data, int to, Channel channel) override {
    host_.send(data, to, channel);
  }
  void receive(std::span<std::byte> data, int from, Channel channel) override {
    host_.receive(data, from, channel);
  }
  bool progress() override { return host_.progress(); }

  void broadcast_rows(Tensor rows, int root) override {
    if (size() == 1) return;
    const Tensor bounce = rank() == root ? fetched(in_, rows) : host_view(in_, rows);
    host_.broadcast(bytes_of(bounce).data(), bytes_of(bounce).size(), root);
    if (rank() != root) ops_.copy(rows, bounce);
  }
  void send_rows(Tensor rows, int to, Channel channel) override {
    host_.send(bytes_of(fetched(in_, rows)), to, channel);
  }
  void receive_rows(Tensor rows, int from, Channel channel) override {
    const Tensor bounce = host_view(in_, rows);
    host_.receive(bytes_of(bounce), from, channel);
    ops_.copy(rows, bounce);
  }
  void gather_rows(Tensor all, Tensor mine) override {
    if (size() == 1) return ops_.copy(all, mine);
    const Tensor gathered = host_view(out_, all);
    host_.gather_rows(gathered, fetched(in_, mine));
    ops_.copy(all, gathered);
  }

  /// The groups of host memory; who splits one off for tensors stages it in its turn.
  std::unique_ptr<Communicator> split(int color) override { return host_.split(color); }
  void abort(int code) override { host_.abort(code); }

 protected:
  Communicator& host_;
  Backend& ops_;

 private:
  /// Rows like these in host memory.
  static Tensor host_view(std::vector<std::byte>& buffer, Tensor like) {
    const size_t bytes = bytes_of(like).size();
    if (buffer.size() < bytes) buffer.resize(bytes);
    return view(buffer.data(), like.dtype, like.rows(), like.cols());
  }
  Tensor fetched(std::vector<std::byte>& buffer, Tensor rows) {
    const Tensor bounce = host_view(buffer, rows);
    ops_.copy(bounce, rows);
    ops_.synchronize();
    return bounce;
  }

  std::vector<std::byte> in_, out_;
};

}  // namespace lapidary
