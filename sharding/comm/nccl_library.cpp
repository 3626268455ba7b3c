#include "sharding/comm/nccl_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <type_traits>
#include <utility>
#include <vector>

#include "configs/error.h"

namespace lapidary {
namespace {

/// The oldest NCCL whose communicators are all that is asked of them here.
constexpr int kLeastVersion = NCCL_VERSION(2, 18, 0);

/// The library stays loaded until the program ends: its threads may still run.
Nccl load_nccl(const std::string& name) {
  Nccl nccl;
  void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) fail("NCCL cannot be loaded: ", ::dlerror());
  const auto find = [&](auto& function, const char* symbol) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, symbol));
    if (function == nullptr) fail("this host's NCCL (", name, ") is too old: it has no ", symbol);
  };
  find(nccl.version, "ncclGetVersion");
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
  find(nccl.send, "ncclSend");
  find(nccl.receive, "ncclRecv");
  const auto look = [&](auto& function, const char* symbol) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, symbol));
  };
  look(nccl.mem_alloc, "ncclMemAlloc");
  look(nccl.window_register, "ncclCommWindowRegister");
  look(nccl.lsa_team, "ncclTeamLsa");
  return nccl;
}

/// "2.28.9"
std::string name_of_version(int version) {
  const int major = version >= 10000 ? version / 10000 : version / 1000;
  const int minor = version >= 10000 ? version / 100 % 100 : version / 100 % 10;
  return cat(major, ".", minor, ".", version % 100);
}

}  // namespace

Nccl agreed_nccl(Communicator& host, const std::string& library) {
  Nccl nccl;
  int version = 0;
  agree(host, [&] {
    nccl = load_nccl(library);
    nccl.version(&version);
    if (version < kLeastVersion)
      fail("this host's NCCL is ", name_of_version(version), ", ", name_of_version(kLeastVersion),
           " is the oldest that will do");
  });
  const auto versions = gather_texts(host, name_of_version(version));
  for (size_t r = 1; r < versions.size(); ++r)
    if (versions[r] != versions[0])
      fail("rank 0 has NCCL ", versions[0], ", but rank ", r, " has NCCL ", versions[r],
           ": all ranks need the same");
  return nccl;
}

void let_ranks_share_gpu(const Nccl& nccl, int rank, int ranks) {
  int version = 0;
  nccl.version(&version);
  if (version >= NCCL_VERSION(2, 30, 0) && ranks == 2) {
    ::setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1", 0);
    return;
  }
  const std::string host = cat("lapidary-rank-", rank);
  const std::pair<const char*, const char*> settings[] = {
      {"NCCL_HOSTID", host.c_str()}, {"NCCL_NET", "Socket"},    {"NCCL_IB_DISABLE", "1"},
      {"NCCL_MNNVL_ENABLE", "0"},    {"NCCL_NVLS_ENABLE", "0"}, {"NCCL_ALGO", "Ring"},
      {"NCCL_PROTO", "Simple"},      {"NCCL_MAX_CTAS", "2"},    {"NCCL_RAS_ENABLE", "0"},
      {"NCCL_SOCKET_IFNAME", "lo"}};
  for (const auto& [name, value] : settings) ::setenv(name, value, 0);
}

}  // namespace lapidary
