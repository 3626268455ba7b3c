#include "worker/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "configs/model/model_config.h"
#include "tests/support/error_text.h"
#include "tests/support/test_data.h"
#include "worker/model/group.h"

namespace lapidary {
namespace {

EngineOptions options_for(const std::string& device) {
  EngineOptions options;
  options.model = test_data() / "tests/golden/models/like3b";
  options.device = device;
  options.max_num_seqs = 2;
  options.deterministic = true;
  return options;
}

std::string engine_on(const std::string& device) {
  const EngineOptions options = options_for(device);
  const auto alone = make_solo();
  return Engine(options, read_model_config(options.model), one_stage(*alone)).describe();
}

// The other tests of this program say nothing of the GPU if they run on the CPU.
TEST(EmulatedEngine, RunsOnTheEmulatedDeviceUnlessToldOtherwise) {
  EXPECT_THAT(engine_on("auto"), testing::HasSubstr("cuda emulated"));
  EXPECT_THAT(engine_on("cuda"), testing::HasSubstr("cuda emulated"));
  EXPECT_THAT(engine_on("cpu"), testing::HasSubstr("cpu "));
}

TEST(EmulatedEngine, RefusesDevicesThatAreNotThere) {
  EXPECT_THAT(error_of([] { engine_on("cuda:9"); }), testing::HasSubstr("this host has 8 GPUs"));
  EXPECT_THAT(error_of([] { engine_on("cuda:"); }), testing::HasSubstr("cpu, cuda, cuda:N or auto"));
  EXPECT_THAT(error_of([] { engine_on("gpu"); }), testing::HasSubstr("cpu, cuda, cuda:N or auto"));
}

TEST(EmulatedEngine, RanksShareAGpuOnlyWhenToldTo) {
  const std::map<const char*, const char*> kLaunch{
      {"PMIX_RANK", "0"}, {"PMIX_SERVER_URI2", "1.0"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "9"}};
  for (const auto& [name, value] : kLaunch) ::setenv(name, value, 1);
  EXPECT_THAT(error_of([] { engine_on("cuda"); }),
              testing::HasSubstr("9 ranks on this host, but it has 8 GPUs: start fewer ranks"));
  EXPECT_THAT(error_of([] { engine_on("cuda:1"); }), testing::HasSubstr("gives one GPU to 9 ranks"));
  for (const auto& [name, value] : kLaunch) ::unsetenv(name);
}

}  // namespace
}  // namespace lapidary
