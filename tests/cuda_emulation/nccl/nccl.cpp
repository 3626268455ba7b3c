#include <nccl.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "kernels/cuda/runtime/device.h"
#include "tests/cuda_emulation/nccl/clique.h"
#include "tests/cuda_emulation/nccl/nccl_emulation.h"
#include "tests/cuda_emulation/nccl/nccl_types.h"
#include "tests/cuda_emulation/protection.h"
#include "tests/cuda_emulation/stream.h"

// NCCL's functions, as far as they are called, for ranks that are threads of one process with an emulated GPU
// each. As strict as the real one may be: sends wait for their receivers, what a non-blocking call began goes
// on only while it is asked for, a thread inside a communicator that is aborted ends the program.

namespace em = lapidary::emulation;

namespace {

enum Kind { kReduce, kGather, kBroadcast, kMeeting, kWindow };

std::atomic<bool> memory_connected = false;
thread_local int own_version = NCCL_VERSION_CODE;

/// Of an id: who has come so far.
struct Rendezvous {
  std::shared_ptr<em::Clique> clique;
  std::vector<int> devices;
};

struct Registry {
  std::mutex mutex;
  std::map<std::string, Rendezvous> rendezvous;  // by id
  std::set<ncclComm*> comms;
  std::vector<lapidary::Buffer> memory;  // of windows, until the program ends
  std::vector<std::unique_ptr<std::vector<void*>>> windows;
  std::set<cudaStream_t> streams;  // that collectives came in
  uint64_t ids = 0;

  static Registry& instance() {
    static Registry registry;
    return registry;
  }
};

/// Numbers of meetings that are none of streams.
constexpr uint64_t kOfHosts = uint64_t{1} << 63;

/// As NCCL's header for kernels has it.
struct ncclTeam {
  int ranks, rank, stride;
};

std::string text_of(const ncclUniqueId& id) { return {id.internal, sizeof(id.internal)}; }

}  // namespace

struct ncclComm {
  std::shared_ptr<em::Clique> clique;
  int rank = 0;
  bool blocking = true;
  // Of this rank so far: in its stream, counted as they are done, for recorded ones are done again; and of
  // its host.
  std::shared_ptr<std::atomic<uint64_t>> meetings = std::make_shared<std::atomic<uint64_t>>(0);
  uint64_t host_meetings = kOfHosts;
  std::atomic<ncclResult_t> state{ncclSuccess};
  std::thread joining;                       // of the ranks, at the begin
  std::vector<std::function<void()>> calls;  // begun by `caller`, which has not asked for them yet
  std::thread::id caller;
  std::atomic<int> inside{0};  // threads
};

namespace {

/// A thread's way through a call of a communicator.
class Visit {
 public:
  explicit Visit(ncclComm* comm) : comm_(comm) { ++comm_->inside; }
  ~Visit() { --comm_->inside; }
  Visit(const Visit&) = delete;

 private:
  ncclComm* comm_;
};

/// One rank's part of a collective; on its stream's thread.
using Part = std::function<void()>;
struct Call {
  ncclComm* comm;
  cudaStream_t stream;
  Part before, part, after;  // of a group: all befores, then all parts, then all afters
};

thread_local int group_depth = 0;
thread_local std::vector<Call> group_calls;

/// A group's calls are one piece of work.
ncclResult_t begin(std::vector<Call> calls) {
  if (calls.empty()) return ncclSuccess;
  ncclComm* comm = calls.front().comm;
  const lapidary::cuda::Stream stream{calls.front().stream};
  const auto go = [calls = std::move(calls), stream] {
    em::submit(stream, [calls] {
      for (const Call& call : calls) call.before();
      for (const Call& call : calls) call.part();
      for (const Call& call : calls) call.after();
    });
  };
  if (comm->state != ncclSuccess) return ncclInvalidUsage;
  if (comm->blocking) {
    go();
    return ncclSuccess;
  }
  comm->calls.emplace_back(go);
  comm->caller = std::this_thread::get_id();
  comm->state = ncclInProgress;
  return ncclInProgress;
}

ncclResult_t enqueue(Call call) {
  const auto nothing = [] {};
  if (!call.before) call.before = nothing;
  if (!call.part) call.part = nothing;
  if (!call.after) call.after = nothing;
  if (group_depth == 0) return begin({std::move(call)});
  group_calls.push_back(std::move(call));
  return ncclSuccess;
}

/// All bring something, and each makes its result of it: `make` into memory that nobody else reads, which is
/// copied to `to` when all have read.
ncclResult_t collective(
    ncclComm* comm, cudaStream_t stream, const em::Contribution& mine, void* to,
    const std::function<std::vector<std::byte>(const std::vector<em::Contribution>&)>& make) {
  const Visit visit(comm);
  {
    const std::lock_guard lock(Registry::instance().mutex);
    Registry::instance().streams.insert(stream);
  }
  return enqueue({comm,
                  stream,
                  {},
                  [clique = comm->clique, rank = comm->rank, meetings = comm->meetings, mine, to, make] {
                    const auto result = make(clique->meet(rank, (*meetings)++, mine));
                    clique->meet(rank, (*meetings)++, {kMeeting, 0, 0, 1, nullptr});
                    std::memcpy(to, result.data(), result.size());
                  },
                  {}});
}

const std::byte* bytes_of(const em::Contribution& one) { return static_cast<const std::byte*>(one.from); }

/// In rank order from another rank for each part: an order of its own, the same on every rank.
std::vector<std::byte> add_up(const std::vector<em::Contribution>& all) {
  const size_t count = all.front().count, ranks = all.size();
  std::vector<std::byte> sum(count * sizeof(float));
  auto* y = reinterpret_cast<float*>(sum.data());
  for (size_t i = 0; i < count; ++i) {
    const size_t first = i * ranks / count;
    y[i] = static_cast<const float*>(all[first].from)[i];
    for (size_t r = 1; r < ranks; ++r) y[i] += static_cast<const float*>(all[(first + r) % ranks].from)[i];
  }
  return sum;
}

void join(ncclComm* comm, const std::string& id, int ranks, int device) {
  Registry& registry = Registry::instance();
  std::shared_ptr<em::Clique> clique;
  bool shared = false;
  {
    const std::lock_guard lock(registry.mutex);
    Rendezvous& meeting = registry.rendezvous[id];
    if (!meeting.clique) meeting.clique = std::make_shared<em::Clique>(ranks);
    clique = meeting.clique;
    for (const int other : meeting.devices) shared = shared || other == device;
    meeting.devices.push_back(device);
    comm->clique = clique;
  }
  comm->joining = std::thread([comm, clique, shared] {
    try {
      // All learn of what one of them found.
      const int trouble = shared ? 1 : 0;
      bool any = false;
      for (const auto& one :
           clique->meet(comm->rank, comm->host_meetings++, {kMeeting, 0, sizeof(int), 1, &trouble}))
        any = any || *static_cast<const int*>(one.from) != 0;
      clique->meet(comm->rank, comm->host_meetings++, {kMeeting, 0, 0, 1, nullptr});
      comm->state = any ? ncclInvalidUsage : ncclSuccess;
    } catch (const std::exception&) {
      comm->state = ncclInternalError;
    }
  });
}

}  // namespace

extern "C" {

void nccl_emulation_set_version(int version) { own_version = version; }

void nccl_emulation_lose_rank(int rank) {
  Registry& registry = Registry::instance();
  const std::lock_guard lock(registry.mutex);
  for (ncclComm* comm : registry.comms)
    if (comm->rank != rank) comm->state = ncclRemoteError;
}

int nccl_emulation_take_streams() {
  const std::lock_guard lock(Registry::instance().mutex);
  return static_cast<int>(std::exchange(Registry::instance().streams, {}).size());
}

void nccl_emulation_connect_memory(bool connected) { memory_connected = connected; }

ncclResult_t ncclMemAlloc(void** memory, size_t bytes) {
  lapidary::Buffer buffer = lapidary::cuda::allocate(bytes);
  {
    const em::AsDevice device;
    std::memset(buffer.get(), 0xff, bytes);  // NCCL does not clear it
  }
  *memory = buffer.get();
  Registry& registry = Registry::instance();
  const std::lock_guard lock(registry.mutex);
  registry.memory.push_back(std::move(buffer));
  return ncclSuccess;
}

ncclTeam ncclTeamLsa(ncclComm_t comm) {
  const int ranks = memory_connected ? comm->clique->ranks() : 1;
  return {ranks, memory_connected ? comm->rank : 0, 1};
}

/// All ranks come, and go on when all parts are known.
ncclResult_t ncclCommWindowRegister(ncclComm_t comm, void* memory, size_t bytes, ncclWindow_t* window, int) {
  auto* parts = new std::vector<void*>;
  for (const auto& one :
       comm->clique->meet(comm->rank, comm->host_meetings++, {kWindow, 0, bytes, 1, memory}))
    parts->push_back(const_cast<void*>(one.from));
  *window = reinterpret_cast<ncclWindow_t>(parts->data());
  const std::lock_guard lock(Registry::instance().mutex);
  Registry::instance().windows.emplace_back(parts);
  return ncclSuccess;
}

ncclResult_t ncclGetVersion(int* version) {
  *version = own_version;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) { return em::error_text(result); }

const char* ncclGetLastError(ncclComm_t comm) {
  return comm != nullptr && comm->state == ncclInvalidUsage ? "Duplicate GPU detected" : "";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  Registry& registry = Registry::instance();
  const std::lock_guard lock(registry.mutex);
  *id = {};
  std::snprintf(id->internal, sizeof(id->internal), "id %lu", static_cast<unsigned long>(++registry.ids));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  auto* made = new ncclComm;
  made->rank = rank;
  made->blocking = config->blocking != 0;
  made->state = ncclInProgress;
  *comm = made;
  Registry& registry = Registry::instance();
  {
    const std::lock_guard lock(registry.mutex);
    registry.comms.insert(made);
  }
  join(made, text_of(id), ranks, em::current_device());
  if (!made->blocking) return ncclInProgress;
  made->joining.join();
  return made->state;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const Visit visit(comm);
  *state = comm->state;
  if (*state == ncclInProgress && !comm->calls.empty() && comm->caller == std::this_thread::get_id()) {
    // They are done by the next time.
    for (const auto& call : comm->calls) call();
    comm->calls.clear();
    comm->state = ncclSuccess;
  }
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (comm->inside > 0) {
    std::fprintf(stderr, "a communicator is aborted while another thread is inside it\n");
    std::abort();
  }
  comm->clique->free(comm->rank);
  comm->calls.clear();
  // Like the real one it does not return while work that was recorded may be done again.
  while (comm->meetings.use_count() > 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (comm->joining.joinable()) comm->joining.join();
  Registry& registry = Registry::instance();
  const std::lock_guard lock(registry.mutex);
  registry.comms.erase(comm);
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (--group_depth > 0) return ncclSuccess;
  return begin(std::exchange(group_calls, {}));
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  if (type != ncclFloat32 || op != ncclSum) return ncclInvalidArgument;
  return collective(comm, stream, {kReduce, 0, count, sizeof(float), from}, to, add_up);
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  return collective(comm, stream, {kGather, 0, count, em::size_of(type), from}, to,
                    [](const std::vector<em::Contribution>& all) {
                      std::vector<std::byte> result;
                      for (const auto& one : all)
                        result.insert(result.end(), bytes_of(one), bytes_of(one) + one.count * one.element);
                      return result;
                    });
}

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return collective(comm, stream, {kBroadcast, root, count, em::size_of(type), from}, to,
                    [root](const std::vector<em::Contribution>& all) {
                      const auto& one = all[static_cast<size_t>(root)];
                      return std::vector<std::byte>(bytes_of(one), bytes_of(one) + one.count * one.element);
                    });
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  const Visit visit(comm);
  auto number = std::make_shared<uint64_t>();
  const em::Contribution data{kMeeting, 0, count, em::size_of(type), from};
  return enqueue(
      {comm,
       stream,
       [clique = comm->clique, me = comm->rank, peer, data, number] {
         *number = clique->post(me, peer, data);
       },
       {},
       [clique = comm->clique, me = comm->rank, peer, number] { clique->await_taken(me, peer, *number); }});
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  const Visit visit(comm);
  return enqueue({comm,
                  stream,
                  {},
                  [clique = comm->clique, me = comm->rank, peer, to, bytes = count * em::size_of(type)] {
                    clique->take(peer, me, to, bytes);
                  },
                  {}});
}

}  // extern "C"
