#pragma once

#include <memory>
#include <string>

#include "kernels/backend.h"
#include "sharding/comm/device_comm.h"
#include "sharding/comm/watchdog.h"
#include "worker/engine/engine_options.h"

namespace lapidary {

/// Both of a rank's lanes may share a GPU: what the decoder does goes first, and the vision lane's products,
/// which the library spreads over as many multiprocessors as it is told, leave some to it.
enum class Lane { decoder, vision };  // a rank's only lane is as a decoder's: nothing is left to another

/// The backend that options.device names, on this rank's share of the host: "cpu"; "cuda": the GPU of this
/// rank's number on its host; "cuda:N": GPU N; "auto": cuda where the program and the host have it, else cpu.
/// Throws a sentence where there is none, or where ranks would have to share a GPU and options.shared_gpu
/// does not allow it.
std::unique_ptr<Backend> make_backend(const EngineOptions& options, ThreadPool& threads,
                                      Lane lane = Lane::decoder);
/// Whether make_backend() makes one of a GPU.
bool uses_gpu(const EngineOptions& options);

/// How rows in the backend's memory travel between the ranks of `host`: as bytes where that is host memory,
/// by NCCL where the backend has a stream for it and options.nccl names a library, else by way of host
/// memory. Called by all ranks of `host`; what is referred to outlives the result.
std::unique_ptr<DeviceComm> make_device_comm(Communicator& host, Backend& backend, Watchdog& watchdog,
                                             const EngineOptions& options);

}  // namespace lapidary
