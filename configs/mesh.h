#pragma once

#include <cstdint>

namespace lapidary {

/// How the ranks of a job are dealt out. A replica has tp * pp ranks that hold the decoder, stage by stage,
/// then `vision_ranks` that only encode pictures. Replicas follow one another.
struct Mesh {
  int tp = 1;            // ranks that share each layer
  int pp = 1;            // stages, each with a run of layers
  int replicas = 1;      // whole models, which share one queue
  int vision_ranks = 0;  // of each replica; 0: the ranks of the first stage encode beside decoding

  int decoder_ranks() const { return tp * pp; }
  int replica_ranks() const { return tp * pp + vision_ranks; }
  int world() const { return replicas * replica_ranks(); }
  bool operator==(const Mesh&) const = default;
};

/// Where one rank stands.
struct MeshCoord {
  int replica = 0;
  int rank = 0;   // in its replica
  int stage = 0;  // -1: only encodes
  int tp_rank = 0;

  bool decodes() const { return stage >= 0; }
};

/// Throws a sentence with both numbers where the mesh has a part below 1 (vision_ranks: below 0), or where
/// `processes` were started and another number is needed.
void check_mesh(const Mesh& mesh, int processes);
MeshCoord coord_of(const Mesh& mesh, int world_rank);

/// Whether the rank has a vision lane: a vision rank where there are any, else one of the first stage.
bool has_vision_lane(const Mesh& mesh, const MeshCoord& coord);
/// How many vision lanes a replica has.
int vision_lanes(const Mesh& mesh);
/// The replica's rank of vision lane `lane`.
int rank_of_lane(const Mesh& mesh, int lane);

/// The run of layers [begin, end) of each stage: as equal as whole layers allow, where the head (and the
/// embedding's own weight is the head's, so it costs nothing more) counts as `head_layers` layers on the last
/// stage. Throws where there are more stages than layers.
struct LayerRun {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};
LayerRun layers_of_stage(int64_t layers, double head_layers, int stage, int stages);

}  // namespace lapidary
