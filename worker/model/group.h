#pragma once

#include <functional>
#include <memory>

#include "configs/mesh.h"
#include "sharding/comm/device_comm.h"

namespace lapidary {

/// Where an engine stands: its replica's ranks, and those of them that share its stage's layers. Both outlive
/// the engine.
struct Group {
  Communicator& replica;  // mesh.replica_ranks() ranks, in the order of MeshCoord.rank
  Communicator& tp;       // the ranks of this stage, in the order of MeshCoord.tp_rank; a vision rank: itself
  Mesh mesh;
  MeshCoord coord;
  /// How rows travel between the ranks' backends; empty: as the engine's options say (make_device_comm).
  std::function<std::unique_ptr<DeviceComm>(Communicator&, Backend&)> make_rows = {};
};

/// The same for rows in the memory of the ranks' backends.
struct DeviceGroup {
  DeviceComm& replica;
  DeviceComm& tp;
  Mesh mesh;
  MeshCoord coord;

  bool first_stage() const { return coord.stage == 0; }
  bool last_stage() const { return coord.stage == mesh.pp - 1; }
  /// The replica's rank with this one's shard of stage `stage`.
  int peer(int stage) const { return stage * mesh.tp + coord.tp_rank; }
};

/// All of a communicator's ranks as one stage: traces and benchmarks.
inline Group one_stage(Communicator& comm) {
  return {comm, comm, {comm.size(), 1, 1, 0}, {0, comm.rank(), 0, comm.rank()}};
}

}  // namespace lapidary
