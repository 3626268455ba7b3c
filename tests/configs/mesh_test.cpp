#include "configs/mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/support/error_text.h"

namespace lapidary {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Mesh, RanksAreStagesThenVisionRanksReplicaByReplica) {
  const Mesh mesh{2, 3, 2, 1};
  ASSERT_EQ(mesh.world(), 14);
  std::set<std::pair<int, int>> seen;
  for (int rank = 0; rank < mesh.world(); ++rank) {
    const MeshCoord coord = coord_of(mesh, rank);
    EXPECT_TRUE(seen.insert({coord.replica, coord.rank}).second);
    EXPECT_EQ(coord.replica * 7 + coord.rank, rank);
    if (coord.decodes()) {
      EXPECT_EQ(coord.stage * 2 + coord.tp_rank, coord.rank);
    }
    EXPECT_EQ(has_vision_lane(mesh, coord), coord.rank == 6);
  }
  EXPECT_EQ(rank_of_lane(mesh, 0), 6);
}

TEST(Mesh, WithoutVisionRanksTheFirstStageEncodes) {
  const Mesh mesh{2, 2, 1, 0};
  EXPECT_EQ(vision_lanes(mesh), 2);
  for (int rank = 0; rank < 4; ++rank) EXPECT_EQ(has_vision_lane(mesh, coord_of(mesh, rank)), rank < 2);
}

TEST(Mesh, AnotherNumberOfProcessesIsRefusedWithBothNumbers) {
  EXPECT_THAT(error_of([] { check_mesh({2, 2, 2, 1}, 8); }), AllOf(HasSubstr("10"), HasSubstr("8")));
  EXPECT_THAT(error_of([] { check_mesh({0, 1, 1, 0}, 1); }), HasSubstr("--tp is 0"));
  check_mesh({2, 2, 2, 1}, 10);
}

TEST(Mesh, StagesCoverAllLayersAndTheHeadCountsOnTheLast) {
  for (int stages = 1; stages <= 5; ++stages)
    for (double head : {0.0, 0.4, 2.1, 9.0}) {
      int64_t next = 0;
      for (int s = 0; s < stages; ++s) {
        const LayerRun run = layers_of_stage(5, head, s, stages);
        EXPECT_EQ(run.begin, next);
        EXPECT_GE(run.size(), 1);
        next = run.end;
      }
      EXPECT_EQ(next, 5);
    }
  EXPECT_EQ(layers_of_stage(46, 2.1, 0, 2).end, 24);  // 24 against 22 and a head of 2.1
  EXPECT_THAT(error_of([] { layers_of_stage(2, 0, 0, 3); }), AllOf(HasSubstr("3"), HasSubstr("2 layers")));
}

}  // namespace
}  // namespace lapidary
