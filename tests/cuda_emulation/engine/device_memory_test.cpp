#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/model/model_config.h"
#include "tests/cuda_emulation/stream.h"
#include "tests/support/error_text.h"
#include "worker/engine/engine.h"
#include "worker/engine/vision_tower.h"
#include "worker/model/group.h"

namespace lapidary {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// A driver that a test may change.
class EmulatedDriver : public testing::Test {
 protected:
  EmulatedDriver() {
    options.model = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "tests/golden/models/like3b";
    options.device = "cuda";
    options.max_num_seqs = 4;
    options.encoder_cache_slots = 8;  // pictures at once would grow with sequences, and scratch with them
    config = read_model_config(options.model);
  }
  ~EmulatedDriver() override { driver = emulation::Driver(); }

  std::string start() {
    return error_of([&] {
      const auto alone = make_solo();
      Engine(options, config, one_stage(*alone));
    });
  }

  emulation::Driver& driver = emulation::driver();
  EngineOptions options;
  ModelConfig config;
};

TEST_F(EmulatedDriver, AGpuThatIsTooOldIsASentenceWithBothNumbers) {
  driver.device.name = "Tesla V100";
  driver.device.major = 7;
  EXPECT_THAT(start(), AllOf(HasSubstr("--device is cuda"), HasSubstr("Tesla V100"), HasSubstr("7.0"),
                             HasSubstr("8.0")));
}

TEST_F(EmulatedDriver, AGpuWhoseBlocksHaveTooLittleMemoryIsASentenceWithBothNumbers) {
  driver.device.name = "GeForce RTX 4090";
  driver.device.shared_memory = size_t{99} << 10;
  EXPECT_THAT(start(), AllOf(HasSubstr("--device is cuda"), HasSubstr("RTX 4090"), HasSubstr("99 KiB"),
                             HasSubstr("160")));
}

TEST_F(EmulatedDriver, NoGpuIsASentenceWithItsReason) {
  driver.why_no_device =
      "the driver of this host is one for CUDA 11.4, and this program was built with CUDA 12.9";
  EXPECT_EQ(start(), "--device is cuda, but " + driver.why_no_device);
  options.device = "auto";
  EXPECT_EQ(start(), "no error");  // the CPU
}

TEST_F(EmulatedDriver, MemoryIsPlannedAsItIsThenTaken) {
  const size_t before = emulation::device_memory_held();
  size_t taken = 0;
  {
    const auto alone = make_solo();
    const Engine engine(options, config, one_stage(*alone));
    VisionTower tower(options, config, true);
    const EncoderCache slots(tower.backend(), engine.capacity().encoder_cache_slots(), tower.tokens(),
                             tower.hidden());
    taken = emulation::device_memory_held() - before;
  }
  // The plan asks for a thirty-second more than it counts, for the libraries, and counts the lane's own
  // buffer.
  driver.device.memory = before + taken + taken / 16;
  EXPECT_EQ(start(), "no error");
  options.max_num_seqs = 1000;
  driver.device.memory = before + taken + taken / 4;  // some more sequences than four
  const std::string many = start();
  const size_t at = many.find("--max-num-seqs ");
  ASSERT_NE(at, std::string::npos) << many;
  options.max_num_seqs = std::stoi(many.substr(at + 15));
  EXPECT_GE(options.max_num_seqs, 4) << many;
  EXPECT_EQ(start(), "no error");

  options.max_num_seqs = 4;
  driver.device.memory = before + taken - taken / 100;
  EXPECT_THAT(start(), AllOf(HasSubstr("not enough GPU memory"), HasSubstr("weights"), HasSubstr("KV pages"),
                             HasSubstr("activations"), HasSubstr("cuda emulated has"), HasSubstr("free; ")));
}

TEST_F(EmulatedDriver, AModelThatIsTooLargeForAGpuIsToldHowManyWouldDo) {
  options.model = std::filesystem::path(LAPIDARY_SOURCE_DIR) / "configs/models/paligemma2-28b-pt-896.json";
  options.load_format = LoadFormat::dummy;
  config = read_model_config(options.model);
  driver.device.memory = size_t{44} << 30;  // half of the weights' 54.5 GB, and room for the rest
  EXPECT_THAT(start(), AllOf(HasSubstr("not enough GPU memory: this needs "), HasSubstr("weights 5"),
                             HasSubstr("GB free; --tp 2 fits (")));
}

}  // namespace
}  // namespace lapidary
