#include <algorithm>

#include "configs/error.h"
#include "sharding/comm/nccl_connection.h"
#include "sharding/comm/nccl_options.h"
#include "sharding/comm/peer_sums.h"
#include "sharding/comm/staged_comm.h"

namespace lapidary {
namespace {

class NcclComm final : public StagedComm {
 public:
  NcclComm(Communicator& host, Backend& ops, Watchdog& watchdog, const NcclOptions& options)
      : StagedComm(host, ops),
        nccl_(agreed_nccl(host, options.library)),
        deterministic_(options.deterministic),
        gathered_bytes_(deterministic_ ? options.gathered : kWarmUp),
        connection_(std::make_shared<NcclConnection>(nccl_, options.deadline_seconds)) {
    if (options.shared_gpu) let_ranks_share_gpu(nccl_, host.rank(), host.size());
    ncclUniqueId id{};
    agree(host, [&] {
      if (host.rank() == 0 && nccl_.unique_id(&id) != ncclSuccess)
        fail("NCCL cannot make an id for the ranks: ", nccl_.last_error(nullptr));
    });
    host.broadcast(reinterpret_cast<std::byte*>(&id), sizeof(id), 0);
    gathered_ = ops.allocate(gathered_bytes_);
    watchdog.watch(connection_);
    agree(host, [&] { connection_->join(id, host.size(), host.rank()); });
    connect_peers(watchdog, options.peer_sums);
  }
  /// What is under way, if a rank is gone, ends before its memory does.
  ~NcclComm() override {
    if (peers_) peers_->abort();
    connection_->abort();
  }
  NcclComm(const NcclComm&) = delete;

  bool in_stream() const override { return true; }
  size_t workspace_bytes() const override {
    return gathered_bytes_ + (peers_ ? ops_.peer_window_bytes(size()) : 0);
  }

  void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) override {
    if (y.rows() * y.cols() == 0) return;
    if (peers_ && peers_->takes(y, finish)) return peers_->sum(y, partials, finish);
    sum_by_nccl(y, partials, finish);
  }
  void all_reduce_add_norm(Backend& ops, const AddNorm& to, Tensor partials,
                           const SumTree::Finish& finish) override {
    if (!peers_ || !peers_->takes(to.y, finish))
      return StagedComm::all_reduce_add_norm(ops, to, partials, finish);
    peers_->all_reduce_add_norm(to, partials, finish);
  }

  void broadcast(Tensor rows, int root) override {
    connection_->call("broadcast rows", [&](ncclComm_t comm) {
      return nccl_.broadcast(rows.data, rows.data, bytes_of(rows).size(), ncclChar, root, comm, stream());
    });
  }
  void all_gather(Tensor all, Tensor mine) override {
    gather(all.data, mine.data, bytes_of(mine).size(), ncclChar);
  }
  void send(Tensor rows, int to, Channel channel) override {
    if (channel != Channel::activations) return StagedComm::send(rows, to, channel);
    connection_->call("send rows", [&](ncclComm_t comm) {
      return nccl_.send(rows.data, bytes_of(rows).size(), ncclChar, to, comm, stream());
    });
  }
  void receive(Tensor rows, int from, Channel channel) override {
    if (channel != Channel::activations) return StagedComm::receive(rows, from, channel);
    connection_->call("receive rows", [&](ncclComm_t comm) {
      return nccl_.receive(rows.data, bytes_of(rows).size(), ncclChar, from, comm, stream());
    });
  }

  /// One of each kind and order of size, and between all pairs.
  void warm_up() override {
    const auto ranks = static_cast<size_t>(size());
    std::byte* mine = gathered_.get();
    for (size_t bytes = 16; bytes * (ranks + 1) <= std::min(kWarmUp, gathered_bytes_); bytes *= 16) {
      reduce(mine + bytes, mine, bytes / sizeof(float));
      gather(mine + bytes, mine, bytes, ncclChar);
      broadcast(view(mine, DType::f32, 1, static_cast<int64_t>(bytes / sizeof(float))), 0);
    }
    for (int step = 1; step < size(); ++step)
      connection_->call("connect two ranks", [&](ncclComm_t comm) {
        const int to = (rank() + step) % size(), from = (rank() + size() - step) % size();
        nccl_.group_start();
        nccl_.send(mine, 16, ncclChar, to, comm, stream());
        nccl_.receive(mine + 16, 16, ncclChar, from, comm, stream());
        return nccl_.group_end();
      });
    ops_.synchronize();
  }

 private:
  static constexpr size_t kWarmUp = size_t{4} << 20;  // bytes

  /// Where every rank reaches every other's memory: a window of each, and what the sums over it gain.
  void connect_peers(Watchdog& watchdog, int64_t bytes) {
    const size_t window_bytes = ops_.peer_window_bytes(size());
    const bool can = nccl_.mem_alloc != nullptr && nccl_.window_register != nullptr &&
                     nccl_.lsa_team != nullptr && window_bytes > 0 && bytes != 0;
    int ready = 0;
    if (can)
      connection_->call("tell who reaches whom", [&](ncclComm_t comm) {
        ready = nccl_.lsa_team(comm).ranks == size() ? 1 : 0;
        return ncclSuccess;
      });
    if (!all_say(ready)) return;
    void* memory = nullptr;  // the program's until it ends: other ranks may still reach it
    ncclWindow_t window = nullptr;
    agree(host_, [&] {
      if (nccl_.mem_alloc(&memory, window_bytes) != ncclSuccess)
        fail("NCCL cannot allocate ", window_bytes, " bytes for sums between GPUs");
      const std::vector<std::byte> zeros(window_bytes);
      const auto shape = static_cast<int64_t>(window_bytes / sizeof(float));
      ops_.copy(view(memory, DType::f32, 1, shape),
                view(const_cast<std::byte*>(zeros.data()), DType::f32, 1, shape));
    });
    connection_->call("register a window", [&](ncclComm_t comm) {
      return nccl_.window_register(comm, memory, window_bytes, &window, NCCL_WIN_COLL_SYMMETRIC);
    });
    auto sum = window != nullptr ? ops_.make_peer_all_reduce(window, rank(), size()) : nullptr;
    if (!all_say(sum != nullptr ? 1 : 0)) return;  // and everyone's window is zeroed
    peers_ = std::make_shared<PeerAllReduces>(std::move(sum));
    watchdog.watch(peers_);
    if (bytes > 0) return peers_->limit(bytes);
    peers_->measure(host_, ops_, [this](Tensor y, Tensor mine, const SumTree::Finish& finish) {
      sum_by_nccl(y, mine, finish);
    });
  }

  bool all_say(int yes) {
    std::vector<int> all(static_cast<size_t>(size()));
    make_host_rows(host_)->all_gather(view(all.data(), DType::i32, size(), 1), view(&yes, DType::i32, 1, 1));
    return std::ranges::all_of(all, [](int one) { return one != 0; });
  }

  void sum_by_nccl(Tensor y, Tensor partials, const SumTree::Finish& finish) {
    if (!deterministic_)  // the backend's matrices have made each rank's blocks one
      return reduce(y.data, partials.data, static_cast<size_t>(y.rows() * y.cols()));
    const int64_t bytes_a_row = finish.total() * y.cols() * static_cast<int64_t>(sizeof(float));
    const int64_t chunk = static_cast<int64_t>(gathered_bytes_) / bytes_a_row;
    if (chunk == 0) throw std::logic_error("a row of all ranks' blocks is larger than the memory for them");
    for (int64_t begin = 0; begin < y.rows(); begin += chunk)
      sum_rows(y, partials, finish, begin, std::min(y.rows(), begin + chunk));
  }

  cudaStream_t stream() const { return static_cast<cudaStream_t>(ops_.native_stream()); }

  void reduce(void* to, const void* from, size_t count) {
    connection_->call("add up over the ranks", [&](ncclComm_t comm) {
      return nccl_.all_reduce(from, to, count, ncclFloat, ncclSum, comm, stream());
    });
  }
  void gather(void* to, const void* from, size_t count, ncclDataType_t type) {
    connection_->call("gather from the ranks", [&](ncclComm_t comm) {
      return nccl_.all_gather(from, to, count, type, comm, stream());
    });
  }

  /// Rows [begin, end) of y: all ranks' blocks of them, gathered and added in the tree's order.
  void sum_rows(Tensor y, Tensor partials, const SumTree::Finish& finish, int64_t begin, int64_t end) {
    const int64_t n = (end - begin) * y.cols();
    auto* all = reinterpret_cast<float*>(gathered_.get());
    const int blocks = finish.blocks.front();
    const bool equal = std::ranges::all_of(finish.blocks, [&](int other) { return other == blocks; });
    if (equal && (blocks == 1 || n == y.rows() * y.cols())) {  // each rank's lie side by side
      gather(all, partials.row<float>(begin), static_cast<size_t>(blocks * n), ncclFloat);
    } else {
      broadcast_blocks(all, y.rows(), partials, finish, begin, end);
    }
    ops_.add_blocks(y.row_range(begin, end), view(all, DType::f32, finish.total() * (end - begin), y.cols()),
                    finish.merges);
  }

  /// The same where the ranks hold unequal numbers of blocks of `rows` rows: each block from its owner.
  void broadcast_blocks(float* all, int64_t rows, Tensor partials, const SumTree::Finish& finish,
                        int64_t begin, int64_t end) {
    const int64_t n = (end - begin) * partials.cols();
    connection_->call("gather the ranks' sums", [&](ncclComm_t comm) {
      nccl_.group_start();
      float* to = all;
      for (int r = 0; r < size(); ++r)
        for (int64_t b = 0; b < finish.blocks[static_cast<size_t>(r)]; ++b, to += n) {
          const float* from = r == rank() ? partials.row<float>(b * rows + begin) : to;
          nccl_.broadcast(from, to, static_cast<size_t>(n), ncclFloat, r, comm, stream());
        }
      return nccl_.group_end();
    });
  }

  const Nccl nccl_;
  const bool deterministic_;
  const size_t gathered_bytes_;
  Buffer gathered_;
  const std::shared_ptr<NcclConnection> connection_;
  std::shared_ptr<PeerAllReduces> peers_;  // null: the GPUs do not reach each other's memory
};

}  // namespace

std::unique_ptr<DeviceComm> make_nccl(Communicator& host, Backend& ops, Watchdog& watchdog,
                                      const NcclOptions& options) {
  return std::make_unique<NcclComm>(host, ops, watchdog, options);
}

}  // namespace lapidary
