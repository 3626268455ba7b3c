#include "configs/model/numerics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/error_text.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

struct Row {
  const char* name;
  ImageScale scale;
  bool caps;
  WindowPolicy window;
};

TEST(Numerics, ProfilesAreTheTable) {
  const Row rows[] = {{"hf", ImageScale::none, true, WindowPolicy::hf5},
                      {"hf-4.47", ImageScale::hf_pre_54, true, WindowPolicy::hf447},
                      {"hf-4.53", ImageScale::hf_pre_54, false, WindowPolicy::hf5},
                      {"hf-5.0", ImageScale::hf_pre_54, false, WindowPolicy::hf5},
                      {"hf-5.4", ImageScale::none, false, WindowPolicy::hf5},
                      {"big-vision-pt", ImageScale::none, true, WindowPolicy::full},
                      {"big-vision-ft", ImageScale::none, false, WindowPolicy::full}};
  ASSERT_EQ(numerics_profiles().size(), std::size(rows));
  for (const Row& row : rows) {
    const NumericsProfile& profile = numerics_profile(row.name);
    EXPECT_EQ(profile.name, row.name);
    EXPECT_EQ(profile.image_scale, row.scale) << row.name;
    EXPECT_EQ(profile.window, row.window) << row.name;
    TextConfig config;
    EXPECT_EQ(softcaps(profile.softcap, config).attention, row.caps ? std::optional(50.0) : std::nullopt)
        << row.name;
    EXPECT_EQ(softcaps(profile.softcap, config).final, row.caps ? std::optional(30.0) : std::nullopt)
        << row.name;
  }
  EXPECT_EQ(numerics_profiles()[0].name, "hf");
}

TEST(Numerics, CapsAreTheConfigs) {
  TextConfig config;
  config.attn_softcap = 20;
  config.final_softcap = std::nullopt;
  EXPECT_EQ(softcaps(SoftcapPolicy::config, config).attention, 20);
  EXPECT_EQ(softcaps(SoftcapPolicy::config, config).final, std::nullopt);
  EXPECT_EQ(softcaps(SoftcapPolicy::final, config).attention, std::nullopt);
  EXPECT_EQ(softcaps(SoftcapPolicy::final, config).final, std::nullopt);
  EXPECT_EQ(softcaps(SoftcapPolicy::attention, config).attention, 20);
  config.final_softcap = 5;
  EXPECT_EQ(softcaps(SoftcapPolicy::attention, config).final, std::nullopt);
  EXPECT_EQ(softcaps(SoftcapPolicy::final, config).final, 5);
}

TEST(Numerics, UnknownNamesListTheKnown) {
  EXPECT_EQ(
      error_of([] { numerics_profile("hf-9"); }),
      "there is no numerics profile 'hf-9'; there are: hf, hf-4.47, hf-4.53, hf-5.0, hf-5.4, big-vision-pt, "
      "big-vision-ft");
  EXPECT_EQ(softcap_policy("attn"), SoftcapPolicy::attention);
  EXPECT_EQ(softcap_policy("config"), SoftcapPolicy::config);
  EXPECT_THAT(error_of([] { softcap_policy("on"); }),
              HasSubstr("'on'; there are: off, attention, attn, final, config"));
  EXPECT_EQ(window_policy("full"), WindowPolicy::full);
  EXPECT_THAT(error_of([] { window_policy("x"); }), HasSubstr("there are: hf5, full, hf447"));
}

}  // namespace
}  // namespace lapidary
