#include "coordinator/telemetry/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "configs/json.h"
#include "tests/support/error_text.h"
#include "tests/support/temp_folder.h"

namespace lapidary {
namespace {

class BenchFigures : public testing::Test {
 protected:
  void add(const Figure& figure) const { FigureFile{folder.path() / "figures", "3B \"224\" px"}.add(figure); }
  std::vector<Figure> read() const { return read_figures(folder.path() / "figures"); }
  const TempFolder folder;
};

const Figure kDecode{.what = "decode, batch 1",
                     .value = 1.5,
                     .unit = "ms",
                     .rate = 3500,
                     .limit = 4300,
                     .rate_unit = "GB/s",
                     .limit_name = "copy",
                     .share = 3500.0 / 4300,
                     .goal = 0.78};

TEST_F(BenchFigures, AreReadAsTheyWereWritten) {
  add(kDecode);
  add({.what = "tests", .verdict = "skipped", .note = "no GPU\nhere, \"none\""});
  const auto figures = read();
  ASSERT_EQ(figures.size(), 2u);
  EXPECT_EQ(figures[0].what, "3B \"224\" px: decode, batch 1");
  EXPECT_EQ(figures[0].value, 1.5);
  EXPECT_EQ(figures[0].limit_name, "copy");
  EXPECT_EQ(figures[0].share, kDecode.share);
  EXPECT_EQ(figures[0].judged(), "met");
  EXPECT_EQ(figures[1].judged(), "skipped");
  EXPECT_EQ(figures[1].note, "no GPU\nhere, \"none\"");
}

TEST_F(BenchFigures, AreHeldAgainstTheirGoal) {
  Figure figure{.what = "x", .share = 1.08, .goal = 1.10, .at_most = true};
  EXPECT_EQ(figure.judged(), "met");
  figure.at_most = false;
  EXPECT_EQ(figure.judged(), "missed");
  figure.goal = 0;
  EXPECT_EQ(figure.judged(), "measured");
}

TEST_F(BenchFigures, OfARunThatWasCutOffKeepWhatWasWhole) {
  add(kDecode);
  std::ofstream(folder.path() / "figures", std::ios::app) << R"({"name": "half)";
  EXPECT_EQ(read().size(), 1u);
  std::ofstream(folder.path() / "figures", std::ios::app) << "\n";
  EXPECT_THAT(error_of([&] { read(); }), testing::HasSubstr("line 2"));
}

TEST_F(BenchFigures, MakeAReportThatIsJson) {
  add(kDecode);
  add({.what = "vision beside decode",
       .value = 20,
       .unit = "ms",
       .share = 1.2,
       .goal = 1.1,
       .at_most = true});
  const std::string text = report_of({"2026-01-02", "a \"GPU\"", "1.2", "", "gpu_check.sh", "abc"}, read());
  const boost::json::object report = parse_json(text, "report").as_object();
  EXPECT_EQ(report.at("device").as_string(), "a \"GPU\"");
  ASSERT_EQ(report.at("figures").as_array().size(), 2u);
  EXPECT_EQ(report.at("figures").at(0).at("goal").as_double(), 0.78);
  EXPECT_EQ(report.at("figures").at(1).at("verdict").as_string(), "missed");
  EXPECT_EQ(parse_json(report_of({}, {}), "report").at("figures").as_array().size(), 0u);
}

TEST_F(BenchFigures, MakeATable) {
  add(kDecode);
  add({.what = "ratio", .share = 2, .goal = 3});
  add({.what = "step", .verdict = "failed", .note = "why"});
  const std::string table = markdown_of(read());
  EXPECT_THAT(table, testing::HasSubstr("| 1.5 ms | 3500 GB/s | 4300 GB/s, copy | 81.4 % | ≥ 78 % | met |"));
  EXPECT_THAT(table, testing::HasSubstr("|  |  |  | 2 x | ≥ 3 x | missed |"));
  EXPECT_THAT(table, testing::HasSubstr("failed: why"));
}

}  // namespace
}  // namespace lapidary
