#include "configs/model/numerics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/error_text.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

constexpr std::optional<double> kAttention = 50, kFinal = 30, kNone;

struct Row {
  const char* name;
  ImageScale scale;
  std::optional<double> attention, final;
  WindowPolicy window;
  std::optional<double> attention_if_autoset;
};

TEST(Numerics, ProfilesAreTheTable) {
  constexpr auto kScaled = ImageScale::hf_pre_54, kAsIs = ImageScale::none;
  constexpr auto kHf5 = WindowPolicy::hf5, kHf447 = WindowPolicy::hf447, kFull = WindowPolicy::full;
  const Row rows[] = {{"hf", kAsIs, kAttention, kFinal, kHf5, kAttention},
                      {"hf-4.47", kScaled, kAttention, kFinal, kHf447, kAttention},
                      {"hf-4.48", kScaled, kNone, kFinal, kHf447, kAttention},
                      {"hf-4.52", kScaled, kNone, kNone, kHf447, kAttention},
                      {"hf-4.53", kScaled, kNone, kNone, kHf5, kAttention},
                      {"hf-5.0", kScaled, kNone, kNone, kHf5, kNone},
                      {"hf-5.4", kAsIs, kNone, kNone, kHf5, kNone},
                      {"hf-5.21", kAsIs, kAttention, kNone, kHf5, kAttention},
                      {"big-vision-pt", kAsIs, kAttention, kFinal, kFull, kAttention},
                      {"big-vision-ft", kAsIs, kNone, kNone, kFull, kNone}};
  ASSERT_EQ(numerics_profiles().size(), std::size(rows));
  for (const Row& row : rows) {
    const NumericsProfile& profile = numerics_profile(row.name);
    EXPECT_EQ(profile.name, row.name);
    EXPECT_EQ(profile.image_scale, row.scale) << row.name;
    EXPECT_EQ(profile.window, row.window) << row.name;
    TextConfig config;
    EXPECT_EQ(softcaps(profile, config).attention, row.attention) << row.name;
    EXPECT_EQ(softcaps(profile, config).final, row.final) << row.name;
    config.attention_autoset = true;
    EXPECT_EQ(softcaps(profile, config).attention, row.attention_if_autoset) << row.name;
    EXPECT_EQ(softcaps(profile, config).final, row.final) << row.name;
    config.attn_softcap = std::nullopt;
    EXPECT_EQ(softcaps(profile, config).attention, std::nullopt) << row.name;
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
  EXPECT_EQ(error_of([] { numerics_profile("hf-9"); }),
            "there is no numerics profile 'hf-9'; there are: hf, hf-4.47, hf-4.48, hf-4.52, hf-4.53, hf-5.0, "
            "hf-5.4, hf-5.21, big-vision-pt, big-vision-ft");
  EXPECT_EQ(softcap_policy("attn"), SoftcapPolicy::attention);
  EXPECT_EQ(softcap_policy("config"), SoftcapPolicy::config);
  EXPECT_THAT(error_of([] { softcap_policy("on"); }),
              HasSubstr("'on'; there are: off, attention, attn, final, config"));
  EXPECT_EQ(window_policy("full"), WindowPolicy::full);
  EXPECT_THAT(error_of([] { window_policy("x"); }), HasSubstr("there are: hf5, full, hf447"));
}

}  // namespace
}  // namespace lapidary
