#include "sharding/comm/launch_environment.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace lapidary {
namespace {

/// These variables and no others of a launcher's, until the end of the test.
class LaunchEnvironment : public testing::Test {
 protected:
  void set(const std::vector<std::pair<const char*, const char*>>& variables) {
    for (const auto& [name, value] : variables) {
      ::setenv(name, value, 1);
      set_.emplace_back(name);
    }
  }
  void TearDown() override {
    for (const std::string& name : set_) ::unsetenv(name.c_str());
    for (const auto& [name, value] : kOneHostSettings) ::unsetenv((std::string("OMPI_MCA_") + name).c_str());
  }

 private:
  std::vector<std::string> set_;
};

TEST_F(LaunchEnvironment, ARankWithoutAServerIsALeftover) {
  EXPECT_FALSE(started_by_mpi());
  EXPECT_FALSE(left_by_mpi());
  set({{"OMPI_COMM_WORLD_RANK", "1"}});
  EXPECT_TRUE(left_by_mpi());
  set({{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"PMIX_RANK", "1"}});
  EXPECT_FALSE(started_by_mpi());
  EXPECT_TRUE(left_by_mpi());
  EXPECT_EQ(world_rank(), 0);
  EXPECT_EQ(local_size(), 1);
}

TEST_F(LaunchEnvironment, ARankWithAServerCounts) {
  set({{"OMPI_COMM_WORLD_RANK", "3"},
       {"OMPI_COMM_WORLD_SIZE", "4"},
       {"PMIX_SERVER_URI21", "1.0;tcp4://127.0.0.1:1"}});
  EXPECT_TRUE(started_by_mpi());
  EXPECT_FALSE(left_by_mpi());
  EXPECT_EQ(world_rank(), 3);
}

TEST_F(LaunchEnvironment, MessagesStayOnTheHostWhereAllRanksAre) {
  set({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"PMIX_SERVER_URI2", "x"}});
  keep_messages_on_this_host();
  EXPECT_EQ(std::getenv("OMPI_MCA_btl"), nullptr);
  set({{"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}, {"OMPI_MCA_pml", "ucx"}});
  keep_messages_on_this_host();
  EXPECT_STREQ(std::getenv("OMPI_MCA_btl"), "self,vader");
  EXPECT_STREQ(std::getenv("OMPI_MCA_pml"), "ucx");  // what the user says stays
}

}  // namespace
}  // namespace lapidary
