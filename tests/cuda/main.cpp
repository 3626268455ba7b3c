#include <gtest/gtest.h>

#include <cstdio>

#include "kernels/backend.h"
#include "kernels/cuda_options.h"

// Without a GPU no test runs: each that would have is named with the reason, and the program ends with 77.

namespace lapidary {
namespace {

constexpr int kSkipped = 77;

int name_skipped(const std::string& why) {
  // Lets googletest apply the filter and nothing else.
  class Listed : public testing::Environment {
   public:
    explicit Listed(const std::string& why) : why_(why) {}
    void SetUp() override {
      const testing::UnitTest& tests = *testing::UnitTest::GetInstance();
      for (int s = 0; s < tests.total_test_suite_count(); ++s) {
        const testing::TestSuite& suite = *tests.GetTestSuite(s);
        for (int t = 0; t < suite.total_test_count(); ++t)
          if (const testing::TestInfo& test = *suite.GetTestInfo(t); test.should_run())
            std::printf("[  SKIPPED ] %s.%s: %s\n", suite.name(), test.name(), why_.c_str());
      }
      GTEST_SKIP() << why_;
    }

   private:
    std::string why_;
  };
  testing::AddGlobalTestEnvironment(new Listed(why));
  const int status = RUN_ALL_TESTS();
  return status == 0 && !testing::GTEST_FLAG(list_tests) ? kSkipped : status;
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const lapidary::CudaDevices found = lapidary::cuda_devices();
  return found.count > 0 ? RUN_ALL_TESTS() : lapidary::name_skipped(found.why_none);
}
