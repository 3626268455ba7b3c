#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "configs/error.h"
#include "kernels/cuda_options.h"
#include "sharding/comm/nccl_options.h"
#include "tests/cuda_emulation/nccl/nccl_emulation.h"
#include "tests/support/communicator_suite.h"
#include "tests/support/error_text.h"

// NCCL's communicator on its stand-in: ranks are threads, each with an emulated GPU of its own.

namespace lapidary {
namespace {

using testing::HasSubstr;

NcclOptions on_stand_in(bool deterministic = true) {
  NcclOptions options;
  options.library = LAPIDARY_NCCL_LIBRARY;
  options.deterministic = deterministic;
  options.gathered = size_t{1} << 14;  // so that larger sums come in parts
  return options;
}

template <class Function>
Function* stand_ins(const char* name) {
  void* library = ::dlopen(LAPIDARY_NCCL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<Function*>(::dlsym(library, name));
}

/// One rank's device, with what watches over it.
struct Device {
  explicit Device(int index, const Rescue& rescue = {})
      : backend(make_cuda_backend(threads, {index, true})),
        watchdog(rescue, [this] { return backend->made_progress(); }) {}
  ~Device() { watchdog.close(); }

  ThreadPool threads{1};
  std::unique_ptr<Backend> backend;
  Watchdog watchdog;
};

TEST(NcclComm, DoesWhatIsAskedOfItsKind) {
  for (const bool deterministic : {true, false})
    for (int ranks = 2; ranks <= 5; ++ranks)
      run_threads(ranks, [&](Communicator& host) {
        Device device(host.rank());
        const auto comm = make_nccl(host, *device.backend, device.watchdog, on_stand_in(deterministic));
        EXPECT_TRUE(comm->in_stream());
        comm->warm_up();
        check_rows(*comm, *device.backend, host, deterministic);
        check_messages(comm->host());
      });
}

TEST(NcclComm, AddsByPeersWhereMemoryIsConnected) {
  auto* const connect = stand_ins<decltype(nccl_emulation_connect_memory)>("nccl_emulation_connect_memory");
  connect(true);
  constexpr int64_t kAll = 1 << 30, kSome = 200, kMeasured = -1;
  for (const auto& [ranks, bytes] : {std::pair{2, kAll}, {5, kAll}, {4, kSome}, {2, kMeasured}})
    run_threads(ranks, [&, bytes = bytes](Communicator& host) {
      Device device(host.rank());
      const bool deterministic =
          bytes != kMeasured;  // the measured sums are large: gathering them takes long
      NcclOptions options = on_stand_in(deterministic);
      options.peer_sums = bytes;
      const auto comm = make_nccl(host, *device.backend, device.watchdog, options);
      check_rows(*comm, *device.backend, host, deterministic);
      check_rows(*comm, *device.backend, host, deterministic);
    });
  connect(false);
}

/// What ranks 0 and 1 hear when rank 2 does `fall`, in the middle of a sum.
std::vector<std::string> heard_when_one_falls(double deadline, const std::function<void()>& fall) {
  std::vector<std::string> heard(3);
  std::atomic<int> ended = 0, given = 0;
  std::promise<void> over;
  run_threads(3, [&](Communicator& host) {
    const auto me = static_cast<size_t>(host.rank());
    Rescue rescue;
    rescue.deadline_seconds = deadline;
    rescue.lost = [&heard, me](const std::string& why) { heard[me] = why; };
    rescue.end = [&] {
      if (++ended == 2) over.set_value();
    };
    // The one that falls would hear of the deadline as well, for it waits for nobody here: it has no watchdog
    // that minds.
    if (me == 2) rescue = {};
    Device device(host.rank(), rescue);
    const auto comm = make_nccl(host, *device.backend, device.watchdog, on_stand_in());
    comm->warm_up();
    host.barrier();
    if (me == 2) {
      while (given < 2) std::this_thread::yield();
      fall();
      over.get_future().wait();
      return;
    }
    Buffer memory = device.backend->allocate(2 * sizeof(float));
    SumTree::Finish finish{{1, 1, 1}, {0, 1, 1}};
    const auto at = [&](size_t i) { return view(memory.get() + i * sizeof(float), DType::f32, 1, 1); };
    // The sum is given to the device without complaint; who waits for it is freed.
    EXPECT_NO_THROW(comm->all_reduce(at(0), at(1), finish));
    ++given;
    EXPECT_ANY_THROW(device.backend->synchronize());
    EXPECT_THAT(error_of([&] { comm->all_reduce(at(0), at(1), finish); }), HasSubstr("told to end"));
  });
  EXPECT_EQ(ended, 2);
  return {heard[0], heard[1]};
}

TEST(NcclComm, ARankThatHangsFreesTheOthersWithinTheDeadline) {
  // Longer than the others' first sums take on a busy machine.
  for (const std::string& why : heard_when_one_falls(4, [] {}))
    EXPECT_THAT(why, HasSubstr("within 4 s (--step-deadline): another rank is gone or hangs"));
}

TEST(NcclComm, ARankWhoseHostIsGoneFreesTheOthersAtOnce) {
  const auto heard = heard_when_one_falls(
      600, [] { stand_ins<decltype(nccl_emulation_lose_rank)>("nccl_emulation_lose_rank")(2); });
  for (const std::string& why : heard) EXPECT_THAT(why, HasSubstr("remote process exited"));
}

TEST(NcclComm, SaysWhyItCannotConnect) {
  const auto error_with = [](const std::function<void(int rank, NcclOptions&)>& change,
                             bool one_gpu = false) {
    return error_of([&] {
      run_threads(2, [&](Communicator& host) {
        Device device(one_gpu ? 0 : host.rank());
        NcclOptions options = on_stand_in();
        if (change) change(host.rank(), options);
        make_nccl(host, *device.backend, device.watchdog, options);
      });
    });
  };
  auto* const set_version = stand_ins<decltype(nccl_emulation_set_version)>("nccl_emulation_set_version");
  EXPECT_THAT(error_with([](int, NcclOptions& options) { options.library = "libnccl_none.so.2"; }),
              HasSubstr("NCCL cannot be loaded: libnccl_none.so.2"));
  EXPECT_THAT(error_with([](int, NcclOptions& options) { options.library = "libm.so.6"; }),
              HasSubstr("this host's NCCL (libm.so.6) is too old: it has no ncclGetVersion"));
  EXPECT_THAT(error_with([&](int, NcclOptions&) { set_version(2708); }),
              HasSubstr("this host's NCCL is 2.7.8, 2.18.0 is the oldest that will do"));
  EXPECT_THAT(error_with([&](int rank, NcclOptions&) { set_version(22809 + 191 * rank); }),
              HasSubstr("rank 0 has NCCL 2.28.9, but rank 1 has NCCL 2.30.0: all ranks need the same"));
  EXPECT_THAT(error_with({}, true), HasSubstr("NCCL cannot connect the ranks: invalid usage (Duplicate GPU"));
}

}  // namespace
}  // namespace lapidary
