#include <mpi.h>

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <list>
#include <stdexcept>
#include <thread>
#include <vector>

#include "configs/error.h"
#include "sharding/comm/communicator.h"
#include "sharding/comm/launch_environment.h"
#include "sharding/comm/tree_finish.h"

namespace lapidary {
namespace {

/// MPI counts are ints; longer messages go in parts of this many bytes.
constexpr size_t kMaxBytes = size_t{1} << 30;

/// Tests `request` until it is done: eagerly at first, as most answers are near; then in naps, as a rank that
/// waits for another stage would otherwise keep a core from those that compute.
void wait_gently(MPI_Request& request, MPI_Status& status) {
  using Clock = std::chrono::steady_clock;
  const auto patience = Clock::now() + std::chrono::microseconds(100);
  for (int done = 0;;) {
    MPI_Test(&request, &done, &status);
    if (done) return;
    if (Clock::now() < patience) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
}

class MpiComm final : public Communicator {
 public:
  MpiComm(MPI_Comm comm, bool owns_mpi) : comm_(comm), owns_mpi_(owns_mpi) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiComm() override {
    for (Sending& sending : sendings_) MPI_Wait(&sending.request, MPI_STATUS_IGNORE);
    if (owns_mpi_) {
      MPI_Finalize();
    } else {
      MPI_Comm_free(&comm_);
    }
  }
  MpiComm(const MpiComm&) = delete;
  MpiComm& operator=(const MpiComm&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  /// Small sums: everyone gets all blocks and finishes the tree alone (one message time). Large ones: rank r
  /// finishes the r-th slice of the elements, then the slices are gathered (each element travels twice, not
  /// ranks times). The bits are the same.
  void all_reduce(Tensor y, Tensor partials, const SumTree::Finish& finish) override {
    const int64_t n = y.rows() * y.cols();
    if (n == 0) return;
    if (size_ == 1) {
      std::memcpy(y.data, partials.data, static_cast<size_t>(n) * sizeof(float));
    } else if (n <= kSmall) {
      sum_everywhere(y.row<float>(0), partials.row<float>(0), n, finish);
    } else {
      for (int64_t begin = 0; begin < n; begin += kPart)  // bounds the scratch and keeps counts ints
        sum_by_slices(y.row<float>(0) + begin, partials.row<float>(0) + begin, n, std::min(kPart, n - begin),
                      finish);
    }
  }

  void all_gather(std::byte* out, std::span<const std::byte> mine, std::span<const size_t> sizes) override {
    size_t total = 0;
    for (size_t s : sizes) total += s;
    if (total <= kMaxBytes) {
      std::vector<int> counts, offsets;
      int at = 0;
      for (size_t s : sizes) {
        counts.push_back(static_cast<int>(s));
        offsets.push_back(at);
        at += static_cast<int>(s);
      }
      MPI_Allgatherv(mine.data(), static_cast<int>(mine.size()), MPI_BYTE, out, counts.data(), offsets.data(),
                     MPI_BYTE, comm_);
      return;
    }
    for (int r = 0; r < size_; ++r) {
      const size_t bytes = sizes[static_cast<size_t>(r)];
      if (r == rank_) std::memcpy(out, mine.data(), bytes);
      broadcast(out, bytes, r);
      out += bytes;
    }
  }

  void broadcast(std::byte* data, size_t bytes, int root) override {
    for (size_t at = 0; at < bytes; at += kMaxBytes)
      MPI_Bcast(data + at, static_cast<int>(std::min(kMaxBytes, bytes - at)), MPI_BYTE, root, comm_);
  }

  void barrier() override { MPI_Barrier(comm_); }

  void send(std::span<const std::byte> data, int to, Channel channel) override {
    if (to < 0 || to >= size_ || to == rank_)
      throw std::logic_error("a message to no other rank of the group");
    progress();  // so that what has arrived gives its buffer back
    for (size_t at = 0; at == 0 || at < data.size(); at += kMaxBytes) {
      const auto part = data.subspan(at, std::min(kMaxBytes, data.size() - at));
      if (spare_.empty()) spare_.emplace_back();
      sendings_.splice(sendings_.end(), spare_, spare_.begin());
      Sending& sending = sendings_.back();
      sending.bytes.assign(part.begin(), part.end());
      MPI_Isend(sending.bytes.data(), static_cast<int>(part.size()), MPI_BYTE, to, tag_of(channel), comm_,
                &sending.request);
    }
  }

  void receive(std::span<std::byte> data, int from, Channel channel) override {
    for (size_t at = 0; at == 0 || at < data.size(); at += kMaxBytes) {
      const auto part = data.subspan(at, std::min(kMaxBytes, data.size() - at));
      MPI_Request request = MPI_REQUEST_NULL;
      MPI_Status status;
      MPI_Irecv(part.data(), static_cast<int>(part.size()), MPI_BYTE, from, tag_of(channel), comm_, &request);
      wait_gently(request, status);
      int bytes = 0;
      MPI_Get_count(&status, MPI_BYTE, &bytes);
      if (static_cast<size_t>(bytes) != part.size())
        throw std::logic_error("a message of another size than expected");
    }
  }

  bool progress() override {
    for (auto sending = sendings_.begin(); sending != sendings_.end();) {
      int done = 0;
      MPI_Test(&sending->request, &done, MPI_STATUS_IGNORE);
      const auto next = std::next(sending);
      if (done) spare_.splice(spare_.begin(), sendings_, sending);
      sending = next;
    }
    while (spare_.size() > kSpare) spare_.pop_back();
    return !sendings_.empty();
  }

  std::unique_ptr<Communicator> split(int color) override {
    MPI_Comm part = MPI_COMM_NULL;
    MPI_Comm_split(comm_, color, rank_, &part);
    return std::make_unique<MpiComm>(part, false);
  }

  void abort(int code) override {
    MPI_Abort(comm_, code);
    std::_Exit(code);
  }

 private:
  static constexpr int64_t kSmall = 16 * 1024;  // floats: about where two messages cost less than more bytes
  static constexpr int64_t kPart = 4 * 1024 * 1024;  // floats

  static constexpr size_t kSpare = 4;  // buffers kept for the next messages

  struct Sending {
    MPI_Request request = MPI_REQUEST_NULL;
    std::vector<std::byte> bytes;
  };
  /// Beyond the tags of the sums.
  static int tag_of(Channel channel) { return 1000 + static_cast<int>(channel); }

  float* scratch(size_t floats) {
    if (scratch_.size() < floats) scratch_.resize(floats);
    return scratch_.data();
  }

  void sum_everywhere(float* y, const float* mine, int64_t n, const SumTree::Finish& finish) {
    const auto count = static_cast<int>(n);
    float* all = scratch(static_cast<size_t>(finish.total()) * static_cast<size_t>(n));
    counts_.clear();
    offsets_.clear();
    int at = 0;
    for (int blocks : finish.blocks) {
      counts_.push_back(blocks * count);
      offsets_.push_back(at);
      at += blocks * count;
    }
    MPI_Allgatherv(mine, counts_[static_cast<size_t>(rank_)], MPI_FLOAT, all, counts_.data(), offsets_.data(),
                   MPI_FLOAT, comm_);
    blocks_.clear();
    for (int b = 0; b < finish.total(); ++b) blocks_.push_back(all + b * n);
    finish_tree(y, blocks_, finish.merges, n);
  }

  /// Of `count` elements; the blocks of `mine` lie `pitch` elements apart.
  void sum_by_slices(float* y, const float* mine, int64_t pitch, int64_t count,
                     const SumTree::Finish& finish) {
    const auto slice = [&](int r) { return Range{count * r / size_, count * (r + 1) / size_}; };
    const Range here = slice(rank_);
    float* received = scratch(static_cast<size_t>(finish.total()) * static_cast<size_t>(here.size()));
    requests_.clear();
    blocks_.clear();
    for (int r = 0; r < size_; ++r)
      for (int b = 0; b < finish.blocks[static_cast<size_t>(r)]; ++b) {
        if (r == rank_) {
          blocks_.push_back(mine + b * pitch + here.begin);
          continue;
        }
        MPI_Irecv(received, static_cast<int>(here.size()), MPI_FLOAT, r, b, comm_, &requests_.emplace_back());
        blocks_.push_back(received);
        received += here.size();
      }
    for (int step = 1; step < size_; ++step) {
      const int r = (rank_ + step) % size_;
      const Range there = slice(r);
      for (int b = 0; b < finish.blocks[static_cast<size_t>(rank_)]; ++b)
        MPI_Isend(mine + b * pitch + there.begin, static_cast<int>(there.size()), MPI_FLOAT, r, b, comm_,
                  &requests_.emplace_back());
    }
    MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
    finish_tree(y + here.begin, blocks_, finish.merges, here.size());

    counts_.clear();
    offsets_.clear();
    for (int r = 0; r < size_; ++r) {
      counts_.push_back(static_cast<int>(slice(r).size()));
      offsets_.push_back(static_cast<int>(slice(r).begin));
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, y, counts_.data(), offsets_.data(), MPI_FLOAT, comm_);
  }

  MPI_Comm comm_;
  bool owns_mpi_;
  int rank_ = 0;
  int size_ = 1;
  std::vector<float> scratch_;  // grows to the largest sum, at warm-up
  std::vector<int> counts_, offsets_;
  std::vector<const float*> blocks_;
  std::vector<MPI_Request> requests_;
  std::list<Sending> sendings_, spare_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi() {
  check_launcher();
  keep_messages_on_this_host();
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
    fail("MPI could not start");
  if (provided < MPI_THREAD_FUNNELED)
    fail("this MPI offers no thread support (", provided, "), FUNNELED is needed");
  return std::make_unique<MpiComm>(MPI_COMM_WORLD, true);
}

}  // namespace lapidary
