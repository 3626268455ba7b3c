#include "coordinator/cli/bench/report.h"

#include <cmath>
#include <iostream>

#include "configs/error.h"
#include "coordinator/cli/bench/bench.h"
#include "coordinator/records/durable.h"

namespace lapidary {
namespace {

struct ReportFlags {
  std::filesystem::path figures, out, table;
  ReportHead head;
};

int write_report(const ReportFlags& flags) {
  const std::vector<Figure> figures = read_figures(flags.figures);
  const std::string table = markdown_of(figures);
  if (!flags.out.empty()) write_durably(flags.out, report_of(flags.head, figures));
  if (!flags.table.empty()) write_durably(flags.table, table);
  std::cout << table;
  return 0;
}

struct NoteFlags {
  FigureFile file;
  Figure figure;
  std::string over, of;
};

/// A figure of the file by its name; the last one where there are several.
const Figure& named(const std::vector<Figure>& figures, const std::string& name,
                    const std::filesystem::path& file) {
  for (size_t i = figures.size(); i-- > 0;)
    if (figures[i].what == name) return figures[i];
  fail(file.string(), " has no figure '", name, "'");
}

int write_note(NoteFlags flags) {
  Figure& f = flags.figure;
  if (!flags.of.empty()) {
    const auto figures = read_figures(flags.file.file);
    const double below = named(figures, flags.over, flags.file.file).value;
    f.share = named(figures, flags.of, flags.file.file).value / below;
    if (!std::isfinite(f.share)) fail("the figure '", flags.over, "' is ", below, ": nothing to divide by");
  }
  flags.file.add(f);
  return 0;
}

}  // namespace

void add_figure_flags(CLI::App& command, FigureFile& file) {
  command.add_option("--figures", file.file, "File to which each figure is appended as a line of JSON");
  command.add_option("--label", file.label, "What the figures' names begin with there");
}

void add_bench_report(CLI::App& bench, SelectedCommand& chosen) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App& report = *bench.add_subcommand("report", "One document of the figures that benchmarks wrote");
  report.add_option("figures", flags->figures, "What --figures named")->required();
  report.add_option("--out", flags->out, "The document, JSON");
  report.add_option("--table", flags->table, "The same as a table of Markdown");
  report.add_option("--date", flags->head.date, "When");
  report.add_option("--device", flags->head.device, "The GPU");
  report.add_option("--driver", flags->head.driver, "Its driver");
  report.add_option("--machine", flags->head.machine, "What else the machine is");
  report.add_option("--command", flags->head.command, "What was run");
  report.add_option("--commit", flags->head.commit, "Of which commit");
  when_selected(report, chosen, [flags] { return write_report(*flags); });

  auto note = std::make_shared<NoteFlags>();
  CLI::App& command = *bench.add_subcommand("note", "Add to a file of figures what no benchmark says");
  add_figure_flags(command, note->file);
  command.add_option("name", note->figure.what, "Of the figure")->required();
  command.add_option("--verdict", note->figure.verdict, "passed, failed, skipped");
  command.add_option("--note", note->figure.note, "A sentence");
  command.add_option("--value", note->figure.value, "As measured");
  command.add_option("--unit", note->figure.unit, "Of the value");
  command.add_option("--share", note->figure.share, "Of a limit, or a ratio");
  command.add_option("--goal", note->figure.goal, "That the share should reach");
  command.add_flag("--at-most", note->figure.at_most, "... or not exceed");
  CLI::Option* of = command.add_option("--of", note->of, "The share is the value of this figure …");
  command.add_option("--over", note->over, "… over that of this one")->needs(of);
  when_selected(command, chosen, [note] { return write_note(*note); });
}

}  // namespace lapidary
