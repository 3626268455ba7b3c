// Each numerics profile against the releases of transformers that it is named after, on the checkpoint of
// tests/golden/profiles (its README says how it was made).
#include <gtest/gtest.h>

#include <set>

#include "configs/json.h"
#include "configs/model/numerics.h"
#include "tests/support/golden_engine.h"

namespace lapidary {
namespace {

const std::filesystem::path& golden_folder() {
  static const std::filesystem::path kFolder = test_data() / "tests/golden/profiles";
  return kFolder;
}

boost::json::object read_object(const std::filesystem::path& path) {
  return boost::json::parse(read_text_file(path)).as_object();
}

/// The names under "profiles" (every profile that a release computes) or "autoset" of case.json.
std::set<std::string> recorded(const char* which) {
  const boost::json::object about = read_object(golden_folder() / "case.json");
  std::set<std::string> names;
  for (const auto& [name, releases] : about.at(which).as_object()) names.emplace(name);
  return names;
}

Tensors golden_of(const std::string& name) {
  return read_tensors(golden_folder() / ("golden." + name + ".safetensors"));
}

/// What the profile computes from the checkpoint in `folder`.
Tensors run_profile(const std::string& profile, const std::string& dtype,
                    const std::filesystem::path& folder = golden_folder()) {
  const boost::json::object about = read_object(golden_folder() / "case.json");
  const GoldenRun run{folder, "", profile, dtype, about.at("max_new_tokens").as_int64(), {}};
  const GoldenPrompt prompt{
      std::string(about.at("prompt").as_string()), {std::string(about.at("images").at(0).as_string())}, ""};
  return run_case(run, prompt, golden_of(profile).at("prompt_ids").ints(), 1);
}

/// float32 sums of a few hundred terms in another order; as in golden_test.cpp.
constexpr double kFloat32 = 1e-4;

bool is_as(const Tensors& traced, const Tensors& golden) {
  return traced.at("token_ids").ints() == golden.at("token_ids").ints() &&
         traced.at("logits").error_against(golden.at("logits")) < kFloat32;
}

/// By what image rows were multiplied on their way from the projector into the first layer: the least squares
/// over all their values, where the roundings of bfloat16 average out.
double gain(const std::vector<float>& projected, const std::vector<float>& rows) {
  double product = 0, square = 0;
  for (size_t i = 0; i < projected.size(); ++i) {
    product += static_cast<double>(projected[i]) * rows.at(i);
    square += static_cast<double>(projected[i]) * projected[i];
  }
  return product / square;
}

double gain_of_release(const std::string& profile) {
  const Tensors golden = golden_of(profile);
  return gain(golden.at("bfloat16.projector").values, golden.at("bfloat16.image_rows").values);
}

TEST(Profiles, EachOneOfTransformersHasAGolden) {
  std::set<std::string> names;
  for (const NumericsProfile& profile : numerics_profiles())
    if (profile.name.starts_with("hf")) names.insert(profile.name);
  EXPECT_EQ(names, recorded("profiles"));
}

TEST(Profiles, EachOneComputesWhatItsReleasesDo) {
  for (const std::string& name : recorded("profiles")) {
    const Tensors traced = run_profile(name, "float32"), golden = golden_of(name);
    EXPECT_LT(traced.at("logits").error_against(golden.at("logits")), kFloat32) << name;
    EXPECT_EQ(traced.at("token_ids").ints(), golden.at("token_ids").ints()) << name;
  }
}

// √H in bfloat16 is not √H: old releases divide image rows by the one and multiply them with the other. In
// float32 this can't be seen. The gains are 1.9e-3 apart; 1400 roundings of 2^-9 each leave 5e-5 of noise.
TEST(Profiles, EachOneScalesImageRowsAsItsReleasesDo) {
  for (const std::string& name : recorded("profiles")) {
    const Tensors traced = run_profile(name, "bfloat16");
    // The image is the first of the prompt.
    EXPECT_NEAR(gain(traced.at("projector").values, traced.at("decoder.embeddings").values),
                gain_of_release(name), 3e-4)
        << name;
  }
}

TEST(Profiles, ThoseThatDifferCanBeToldApart) {
  for (const NumericsProfile& profile : numerics_profiles()) {
    if (!profile.name.starts_with("hf")) continue;
    const Tensors traced = run_profile(profile.name, "float32");
    for (const std::string& name : recorded("profiles")) {
      const NumericsProfile& other = numerics_profile(name);
      const bool same = profile.softcap == other.softcap && profile.window == other.window;
      EXPECT_EQ(is_as(traced, golden_of(name)), same) << profile.name << " and " << name;
      const double apart = std::abs(gain_of_release(profile.name) - gain_of_release(name));
      EXPECT_EQ(apart > 1e-3, profile.image_scale != other.image_scale) << profile.name << " and " << name;
    }
  }
}

/// The same checkpoint with `_attn_implementation_autoset` in its text_config.
void copy_with_autoset(const std::filesystem::path& to) {
  std::filesystem::copy(golden_folder(), to, std::filesystem::copy_options::recursive);
  boost::json::object config = read_object(to / "config.json");
  config.at("text_config").as_object()["_attn_implementation_autoset"] = true;
  std::ofstream(to / "config.json") << boost::json::serialize(config);
}

TEST(Profiles, ThoseThatLeftAttentionEagerWhereTheCheckpointSaysSoDoTheSame) {
  TempFolder temp;
  const std::filesystem::path folder = temp.path() / "autoset";
  copy_with_autoset(folder);
  for (const std::string& name : recorded("profiles")) {
    const Tensors traced = run_profile(name, "float32", folder);
    const bool differs = recorded("autoset").contains(name);
    EXPECT_TRUE(is_as(traced, golden_of(differs ? name + ".autoset" : name))) << name;
    EXPECT_EQ(is_as(traced, golden_of(name)), !differs) << name;
  }
}

}  // namespace
}  // namespace lapidary
