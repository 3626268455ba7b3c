#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lapidary {

/// One figure of a benchmark beside its limit. 0 or "": there is none.
struct Figure {
  std::string what{};        // "decode, batch 1"
  double value = 0;          // as measured
  std::string unit{};        // "ms"
  double rate = 0;           // the same as work a second
  double limit = 0;          // what the machine did at most in the same run, in the rate's unit
  std::string rate_unit{};   // "GB/s"
  std::string limit_name{};  // "copy"
  double share = 0;          // rate / limit, or a ratio that has no limit
  double goal = 0;           // that the share should reach
  bool at_most = false;      // ... or not exceed
  std::string verdict{};     // of a step that is no figure: "passed", "failed", "skipped"
  std::string note{};

  /// "met", "missed", "measured" (no goal), or the verdict as given.
  std::string judged() const;
};

/// Figures go to a file as they come, a line of JSON each, so that a run that is cut off leaves what it had;
/// `lapidary bench report` makes one document of them.
class FigureFile {
 public:
  std::filesystem::path file;  // empty: none
  std::string label;           // before each `what`: "3B 224 px"

  /// Throws Error where the file cannot be written.
  void add(Figure figure) const;
};

/// Reads what FigureFile wrote; half a line at the end, of a run that was cut off, is left out. Throws Error
/// for any other line that is not a figure.
std::vector<Figure> read_figures(const std::filesystem::path& file);

/// The same as a table of Markdown.
std::string markdown_of(const std::vector<Figure>& figures);

/// What a report says beside its figures.
struct ReportHead {
  std::string date, device, driver, machine, command, commit;
};
std::string report_of(const ReportHead& head, const std::vector<Figure>& figures);

}  // namespace lapidary
