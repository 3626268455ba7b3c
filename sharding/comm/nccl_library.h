#pragma once

#include <nccl.h>

#include <string>

#include "sharding/comm/communicator.h"

// Where nccl.h comes into the program; for sharding/nccl_*.cpp alone.

namespace lapidary {

/// ncclTeam_t, whose header is for kernels.
struct NcclTeam {
  int ranks, rank, stride;
};

/// NCCL's functions, found when they are first needed: a host without NCCL runs the program all the same.
struct Nccl {
  decltype(&ncclGetVersion) version = nullptr;
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
  decltype(&ncclSend) send = nullptr;
  decltype(&ncclRecv) receive = nullptr;
  // Of NCCL 2.28 and newer; null elsewhere.
  decltype(&ncclMemAlloc) mem_alloc = nullptr;
  decltype(&ncclCommWindowRegister) window_register = nullptr;
  NcclTeam (*lsa_team)(ncclComm_t) = nullptr;
};

/// NCCL on every rank, of one version; `library` as the loader finds it. Throws a sentence on all of them
/// where one has none, one that is too old, or another one than rank 0.
Nccl agreed_nccl(Communicator& host, const std::string& library);

/// Several processes use one GPU. NCCL 2.30 has a switch for two. Otherwise each says that it is on a host of
/// its own; then NCCL does not mind, and they talk by sockets. Read by NCCL when it makes its first id.
void let_ranks_share_gpu(const Nccl& nccl, int rank, int ranks);

}  // namespace lapidary
