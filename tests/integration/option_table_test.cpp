#include "coordinator/cli/engine_table.h"

#include <gmock/gmock.h>

#include <fstream>

#include "coordinator/cli/config_file.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Key;
using testing::Not;
using testing::Pair;

/// Gives every option another value than its default.
struct ChangeVisitor {
  int changed = 0;

  void operator()(const OptionRow&, std::filesystem::path& value) { value = "other", ++changed; }
  void operator()(const OptionRow& row, std::string& value) {
    value = row.name() == "isa" ? "portable" : row.name() == "device" ? "cuda:3" : "hf-4.47";
    ++changed;
  }
  void operator()(const OptionRow&, std::vector<int64_t>& value) { value = {15, 11}, ++changed; }
  void operator()(const OptionRow&, bool& value) { value = !value, ++changed; }
  template <class T>
  void operator()(const OptionRow&, T& value) {
    if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(value == T{} ? 1 : 0);
    } else {
      value += 2;
    }
    ++changed;
  }
};

struct TextVisitor {
  std::vector<std::pair<std::string, std::string>> values{};
  template <class T>
  void operator()(const OptionRow& row, const T& value) {
    values.emplace_back(row.name(), option_text(value));
  }
};

std::vector<std::pair<std::string, std::string>> values_of(EngineFlags& flags) {
  TextVisitor visitor;
  visit_engine_options(flags, visitor);
  visit_replica_options(flags, visitor);
  return visitor.values;
}

TEST(OptionTable, AWorkerIsStartedWithEveryOptionOfItsCoordinator) {
  EngineFlags flags;
  ChangeVisitor change;
  visit_engine_options(flags, change);
  visit_replica_options(flags, change);
  EXPECT_GT(change.changed, 20);
  EngineFlags usual, parsed;
  const auto wanted = values_of(flags), before = values_of(usual);
  ASSERT_EQ(wanted.size(), before.size());
  for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NE(wanted[i], before[i]);

  CLI::App app;
  add_engine_flags(app, parsed);
  add_replica_flags(app, parsed);
  std::vector<std::string> arguments = arguments_of(flags);
  std::reverse(arguments.begin(), arguments.end());
  app.parse(arguments);
  EXPECT_EQ(values_of(parsed), wanted);
}

TEST(OptionTable, RanksAgreeOnWhatDecidesBitsAndSizes) {
  const std::filesystem::path config =
      std::filesystem::path(LAPIDARY_SOURCE_DIR) / "configs/models/paligemma2-3b-pt-224.json";
  EngineFlags flags;
  flags.engine.model = config;
  flags.engine.device = "cuda:1";
  const auto agreed = agreement_of(flags);
  for (const char* name : {"isa", "deterministic", "dtype", "quantization", "profile", "max-model-len",
                           "encoder-cache-slots", "model", "pp-layers", "prefill-kernel"})
    EXPECT_THAT(agreed, Contains(Key(name)));
  EXPECT_THAT(agreed, Contains(Pair("device", "cuda")));
  EXPECT_THAT(agreed, Not(Contains(Key("threads"))));
}

TEST(OptionTable, AJobKeepsWhatDecidesItsRecordsWhereItIsNotTheDefault) {
  EngineFlags flags;
  EXPECT_THAT(kept_of(flags), ElementsAre());
  flags.engine.isa = "avx2";
  flags.engine.quantization = Quantization::fp8;
  flags.engine.threads = 3;
  EXPECT_THAT(kept_of(flags), ElementsAre(Pair("quantization", "fp8"), Pair("isa", "avx2")));
}

/// A command with options of each kind, and a file of its options.
class ConfigFileTest : public testing::Test {
 protected:
  ConfigFileTest() {
    CLI::App& run = *app_.add_subcommand("run", "");
    run.add_option("--tp,--tensor-parallel-size", tp_, "");
    run.add_option("--input,inputs", inputs_, "");
    run.add_flag("--quiet", quiet_, "");
    add_config_options(app_);
  }
  std::vector<std::string> arguments(const std::string& text, std::vector<std::string> given = {}) {
    const auto file = folder_.path() / "options.yaml";
    std::ofstream(file) << text;
    given.insert(given.begin(), {"run", "--config", file.string()});
    auto all = with_config_file(app_, std::move(given));
    all.erase(all.begin(), all.begin() + 3);
    return all;
  }

  TempFolder folder_;
  CLI::App app_{"", "lapidary"};
  int tp_ = 1;
  std::vector<std::string> inputs_;
  bool quiet_ = false;
};

TEST_F(ConfigFileTest, KeysAreFlagsAndListsRepeatThem) {
  EXPECT_THAT(arguments("tp: 2\ninput: [a, b c]\nquiet: true\n"),
              ElementsAre("--tp=2", "--input=a", "--input=b c", "--quiet"));
  EXPECT_THAT(arguments("quiet: false\n"), ElementsAre());
  EXPECT_THAT(arguments(""), ElementsAre());
}

TEST_F(ConfigFileTest, AFlagWinsByAnyOfItsNames) {
  EXPECT_THAT(arguments("tp: 2\n", {"--tensor-parallel-size", "4"}),
              ElementsAre("--tensor-parallel-size", "4"));
  EXPECT_THAT(arguments("tensor-parallel-size: 2\n", {"--tp=4"}), ElementsAre("--tp=4"));
  EXPECT_THAT(arguments("tp: 2\n", {"--", "a"}), ElementsAre("--tp=2", "--", "a"));
}

TEST_F(ConfigFileTest, WhatIsWrongIsNamedWithItsLine) {
  EXPECT_THAT(error_of([&] { arguments("tp: 2\ntpp: 3\n"); }),
              HasSubstr("options.yaml:2: \"tpp\" is no option of lapidary run"));
  EXPECT_THAT(error_of([&] { arguments("config: x\n"); }), HasSubstr("is no option"));
  EXPECT_THAT(error_of([&] { arguments("? [tp]\n: 2\n"); }), HasSubstr("options.yaml:1: a key is the name"));
  EXPECT_THAT(
      error_of([&] { arguments("tp: 2\ntensor-parallel-size: 2\n"); }),
      HasSubstr("options.yaml:2: \"tensor-parallel-size\" is an option that the file has already given"));
  EXPECT_THAT(error_of([&] { arguments("quiet: often\n"); }),
              HasSubstr("quiet is true or false, not 'often'"));
  EXPECT_THAT(error_of([&] { arguments("tp: {a: 1}\n"); }), HasSubstr("options.yaml:1: tp needs a value"));
  EXPECT_THAT(error_of([&] { arguments("- tp\n"); }), HasSubstr("is no map of options"));
  EXPECT_THAT(error_of([&] { arguments("tp: [\n"); }), HasSubstr("options.yaml:"));
  EXPECT_THAT(error_of([&] {
                with_config_file(app_, {"run", "--config=/nowhere.yaml"});
              }),
              HasSubstr("cannot read"));
  EXPECT_THAT(error_of([&] {
                with_config_file(app_, {"run", "--config", folder_.path().string()});
              }),
              HasSubstr("cannot read"));
}

}  // namespace
}  // namespace lapidary
