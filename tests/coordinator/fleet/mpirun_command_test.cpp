#include "coordinator/fleet/mpirun_command.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

using Words = std::vector<std::string>;

TEST(MpirunCommand, OnThisHostRanksMayBeMoreThanCores) {
  EXPECT_EQ(mpirun_command({}, 4, {"lapidary", "worker"}),
            (Words{"mpirun", "--bind-to", "none", "--oversubscribe", "-np", "4", "lapidary", "worker"}));
}

TEST(MpirunCommand, OnOthersTheyAreAsManyAsSlotsAndTheTokenIsNamedOnly) {
  MpirunOptions options;
  options.root = true;
  options.hosts = {{"a", 3}, {"b", 1}};
  options.variables = {"LAPIDARY_TOKEN"};
  options.arguments = {"--mca", "btl", "tcp,self"};
  EXPECT_EQ(mpirun_command(options, 4, {"lapidary"}),
            (Words{"mpirun", "--bind-to", "none", "--allow-run-as-root", "--host", "a:3,b:1", "-x",
                   "LAPIDARY_TOKEN", "--mca", "btl", "tcp,self", "-np", "4", "lapidary"}));
}

}  // namespace
}  // namespace lapidary
