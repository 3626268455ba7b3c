#include "configs/mesh.h"

#include <algorithm>
#include <cmath>

#include "configs/error.h"

namespace lapidary {

void check_mesh(const Mesh& mesh, int processes) {
  const auto at_least = [](const char* flag, int value, int least) {
    if (value < least) fail(flag, " is ", value, ", at least ", least, " is needed");
  };
  at_least("--tp", mesh.tp, 1);
  at_least("--pp", mesh.pp, 1);
  at_least("--replicas", mesh.replicas, 1);
  at_least("--vision-ranks", mesh.vision_ranks, 0);
  if (processes != mesh.world())
    fail("--replicas ", mesh.replicas, " x (--tp ", mesh.tp, " x --pp ", mesh.pp, " + --vision-ranks ",
         mesh.vision_ranks, ") needs ", mesh.world(), mesh.world() == 1 ? " process" : " processes", ", but ",
         processes, processes == 1 ? " was" : " were", " started");
}

MeshCoord coord_of(const Mesh& mesh, int world_rank) {
  MeshCoord coord;
  coord.replica = world_rank / mesh.replica_ranks();
  coord.rank = world_rank % mesh.replica_ranks();
  const bool decodes = coord.rank < mesh.decoder_ranks();
  coord.stage = decodes ? coord.rank / mesh.tp : -1;
  coord.tp_rank = decodes ? coord.rank % mesh.tp : 0;
  return coord;
}

bool has_vision_lane(const Mesh& mesh, const MeshCoord& coord) {
  return mesh.vision_ranks > 0 ? !coord.decodes() : coord.stage == 0;
}

int vision_lanes(const Mesh& mesh) { return mesh.vision_ranks > 0 ? mesh.vision_ranks : mesh.tp; }

int rank_of_lane(const Mesh& mesh, int lane) {
  return mesh.vision_ranks > 0 ? mesh.decoder_ranks() + lane : lane;
}

LayerRun layers_of_stage(int64_t layers, double head_layers, int stage, int stages) {
  if (stages > layers) fail("--pp is ", stages, ", but the model has ", layers, " layers");
  const double share = (static_cast<double>(layers) + head_layers) / stages;
  // Every stage keeps a layer, however heavy the head is.
  const auto edge = [&](int s) {
    if (s == stages) return layers;
    return std::clamp<int64_t>(std::llround(share * s), s, layers - (stages - s));
  };
  return {edge(stage), edge(stage + 1)};
}

}  // namespace lapidary
