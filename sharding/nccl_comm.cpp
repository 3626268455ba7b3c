#include <dlfcn.h>
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "configs/error.h"
#include "sharding/nccl_options.h"
#include "sharding/staged_comm.h"

namespace lapidary {
namespace {

/// NCCL's functions, found when they are first needed: a host without NCCL runs the program all the same.
struct Nccl {
  decltype(&ncclGetErrorString) error_string = nullptr;
  decltype(&ncclGetLastError) last_error = nullptr;
  decltype(&ncclGetUniqueId) unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) init = nullptr;
  decltype(&ncclCommGetAsyncError) async_error = nullptr;
  decltype(&ncclCommAbort) abort = nullptr;
  decltype(&ncclGroupStart) group_start = nullptr;
  decltype(&ncclGroupEnd) group_end = nullptr;
  decltype(&ncclAllReduce) all_reduce = nullptr;
  decltype(&ncclAllGather) all_gather = nullptr;
  decltype(&ncclBroadcast) broadcast = nullptr;
  std::string missing;  // why there is none; empty: all is found
};

Nccl load_nccl() {
  Nccl nccl;
  void* library = ::dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    nccl.missing = cat("NCCL cannot be loaded: ", ::dlerror());
    return nccl;
  }
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    if (function == nullptr) nccl.missing = cat("this host's NCCL is too old: it has no ", name);
  };
  find(nccl.error_string, "ncclGetErrorString");
  find(nccl.last_error, "ncclGetLastError");
  find(nccl.unique_id, "ncclGetUniqueId");
  find(nccl.init, "ncclCommInitRankConfig");
  find(nccl.async_error, "ncclCommGetAsyncError");
  find(nccl.abort, "ncclCommAbort");
  find(nccl.group_start, "ncclGroupStart");
  find(nccl.group_end, "ncclGroupEnd");
  find(nccl.all_reduce, "ncclAllReduce");
  find(nccl.all_gather, "ncclAllGather");
  find(nccl.broadcast, "ncclBroadcast");
  return nccl;
}

const Nccl& nccl() {
  static const Nccl loaded = load_nccl();  // a library, loaded once and never changed
  return loaded;
}

/// Each process says that it is on a host of its own; then NCCL does not mind that all have the same GPU, and
/// they talk by sockets. Read by NCCL at its first call.
void pretend_hosts(int rank) {
  const std::string host = cat("lapidary-rank-", rank);
  const std::pair<const char*, const char*> settings[] = {
      {"NCCL_HOSTID", host.c_str()}, {"NCCL_NET", "Socket"},    {"NCCL_IB_DISABLE", "1"},
      {"NCCL_MNNVL_ENABLE", "0"},    {"NCCL_NVLS_ENABLE", "0"}, {"NCCL_ALGO", "Ring"},
      {"NCCL_PROTO", "Simple"},      {"NCCL_MAX_CTAS", "2"},    {"NCCL_RAS_ENABLE", "0"},
      {"NCCL_SOCKET_IFNAME", "lo"}};
  for (const auto& [name, value] : settings) ::setenv(name, value, 0);
}

/// A communicator never blocks a thread inside NCCL: calls are polled until they are under way, so that a
/// rank whose peer died can be told to end.
class NcclComm final : public StagedComm {
 public:
  NcclComm(Communicator& host, Backend& ops, const NcclOptions& options)
      : StagedComm(host, ops), options_(options) {
    if (options.shared_gpu) pretend_hosts(host.rank());
    ncclUniqueId id{};
    agree(host, [&] {
      if (!nccl().missing.empty()) fail(nccl().missing);
      if (host.rank() == 0) check(nccl().unique_id(&id), "make an id for the ranks");
    });
    host.broadcast(reinterpret_cast<std::byte*>(&id), sizeof(id), 0);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    agree(host,
          [&] { settle(nccl().init(&comm_, host.size(), id, host.rank(), &config), "connect the ranks"); });
    gathered_ = ops.allocate(kGathered);
  }
  /// Never finalised: that would wait for ranks that may be gone.
  ~NcclComm() override {
    if (comm_ != nullptr) nccl().abort(comm_);
  }
  NcclComm(const NcclComm&) = delete;

  void tree_sum(Tensor y, Tensor partials, const SumTree::Finish& finish) override {
    if (y.rows() * y.cols() == 0) return;
    if (!options_.deterministic) {  // the backend's matrices have made each rank's blocks one
      settle(nccl().all_reduce(partials.data, y.data, static_cast<size_t>(y.rows() * y.cols()), ncclFloat,
                               ncclSum, comm_, stream()),
             "add up over the ranks");
      return;
    }
    const int64_t bytes_a_row = finish.total() * y.cols() * static_cast<int64_t>(sizeof(float));
    const int64_t chunk = std::max<int64_t>(1, static_cast<int64_t>(kGathered) / bytes_a_row);
    for (int64_t begin = 0; begin < y.rows(); begin += chunk)
      sum_rows(y, partials, finish, begin, std::min(y.rows(), begin + chunk));
  }

  void broadcast_rows(Tensor rows, int root) override {
    const size_t bytes = static_cast<size_t>(rows.rows() * rows.cols()) * size_of(rows.dtype);
    settle(nccl().broadcast(rows.data, rows.data, bytes, ncclChar, root, comm_, stream()), "broadcast rows");
  }
  void gather_rows(Tensor all, Tensor mine) override {
    settle(nccl().all_gather(mine.data, all.data, bytes_of(mine).size(), ncclChar, comm_, stream()),
           "gather rows");
  }

 private:
  static constexpr size_t kGathered = size_t{64} << 20;  // bytes of blocks that are added at a time

  cudaStream_t stream() const { return static_cast<cudaStream_t>(ops_.native_stream()); }

  void check(ncclResult_t result, const char* what) const {
    if (result != ncclSuccess)
      fail("NCCL cannot ", what, ": ", nccl().error_string(result),
           comm_ != nullptr ? cat(" (", nccl().last_error(comm_), ")") : "");
  }

  /// Waits until a call is on its way.
  void settle(ncclResult_t result, const char* what) const {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(options_.deadline);
    while (result == ncclInProgress) {
      if (std::chrono::steady_clock::now() > until)
        fail("NCCL did not ", what, " within ", options_.deadline, " s");
      std::this_thread::yield();
      const ncclResult_t asked = nccl().async_error(comm_, &result);
      if (asked != ncclSuccess) result = asked;
    }
    check(result, what);
  }

  /// Rows [begin, end) of y: all ranks' blocks of them, gathered and added in the tree's order.
  void sum_rows(Tensor y, Tensor partials, const SumTree::Finish& finish, int64_t begin, int64_t end) {
    const int64_t n = (end - begin) * y.cols();
    auto* all = reinterpret_cast<float*>(gathered_.get());
    check(nccl().group_start(), "begin a group");
    int64_t first = 0;  // block of rank r
    for (int r = 0; r < size(); first += finish.blocks[static_cast<size_t>(r++)])
      for (int64_t b = 0; b < finish.blocks[static_cast<size_t>(r)]; ++b) {
        const float* mine = r == rank() ? partials.row<float>(b * y.rows() + begin) : nullptr;
        float* to = all + (first + b) * n;
        nccl().broadcast(mine != nullptr ? mine : to, to, static_cast<size_t>(n), ncclFloat, r, comm_,
                         stream());
      }
    settle(nccl().group_end(), "gather the ranks' sums");
    ops_.add_blocks(y.row_range(begin, end), view(all, DType::f32, finish.total() * (end - begin), y.cols()),
                    finish.merges);
  }

  const NcclOptions options_;
  ncclComm_t comm_ = nullptr;
  Buffer gathered_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl(Communicator& host, Backend& ops, const NcclOptions& options) {
  return std::make_unique<NcclComm>(host, ops, options);
}

}  // namespace lapidary
