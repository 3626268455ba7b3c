#include "coordinator/telemetry/figures.h"

#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "configs/error.h"
#include "configs/json.h"

namespace lapidary {
namespace {

namespace json = boost::json;

json::object object_of(const Figure& f) {
  json::object o;
  o["name"] = f.what;
  const auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) o[name] = value;
  };
  const auto number = [&](const char* name, double value) {
    if (value != 0 && std::isfinite(value)) o[name] = value;
  };
  number("value", f.value);
  text("unit", f.unit);
  number("rate", f.rate);
  text("rate_unit", f.rate_unit);
  number("limit", f.limit);
  text("limit_name", f.limit_name);
  number("share", f.share);
  number("goal", f.goal);
  if (f.at_most) o["at_most"] = true;
  o["verdict"] = f.judged();
  text("note", f.note);
  return o;
}

Figure figure_of(const json::value& value, const std::string& source) {
  const JsonObject o(value, source);
  Figure f;
  const auto text = [&](const char* name) {
    const json::value* v = o.find(name);
    return v != nullptr && v->is_string() ? std::string(v->as_string()) : std::string();
  };
  const auto number = [&](const char* name) {
    const json::value* v = o.find(name);
    return v != nullptr && v->is_number() ? v->to_number<double>() : 0.0;
  };
  f.what = o.required_string("name");
  f.verdict = o.required_string("verdict");
  f.value = number("value"), f.unit = text("unit");
  f.rate = number("rate"), f.rate_unit = text("rate_unit");
  f.limit = number("limit"), f.limit_name = text("limit_name");
  f.share = number("share"), f.goal = number("goal");
  f.at_most = o.has("at_most");
  f.note = text("note");
  return f;
}

std::string digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value >= 1000 ? "%.0f" : value >= 100 ? "%.1f" : "%.3g", value);
  return text;
}

}  // namespace

std::string Figure::judged() const {
  if (!verdict.empty()) return verdict;
  if (goal == 0) return "measured";
  return (at_most ? share <= goal : share >= goal) ? "met" : "missed";
}

void FigureFile::add(Figure figure) const {
  if (file.empty()) return;
  if (!label.empty()) figure.what = label + ": " + figure.what;
  std::ofstream out(file, std::ios::app);
  out << json::serialize(object_of(figure)) << '\n' << std::flush;
  if (!out) fail("cannot write to ", file.string());
}

std::vector<Figure> read_figures(const std::filesystem::path& file) {
  const std::string text = read_text_file(file);
  std::vector<Figure> figures;
  int line = 1;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1, ++line) {
    const std::string source = cat(file.string(), ", line ", line);
    figures.push_back(
        figure_of(parse_json(std::string_view(text).substr(begin, end - begin), source), source));
  }
  return figures;
}

std::string markdown_of(const std::vector<Figure>& figures) {
  std::string table =
      "| what | value | rate | limit in this run | share | goal | |\n|---|---|---|---|---|---|---|\n";
  for (const Figure& f : figures) {
    const auto cell = [](double value, const std::string& unit) {
      return value == 0 ? std::string() : digits(value) + (unit.empty() ? "" : " " + unit);
    };
    const bool ratio = f.limit == 0;  // of two figures; else a share of the limit
    const auto part = [&](double value) {
      return value == 0 ? std::string() : ratio ? digits(value) + " x" : digits(100 * value) + " %";
    };
    const std::string limit = cell(f.limit, f.rate_unit + (f.limit_name.empty() ? "" : ", " + f.limit_name));
    std::string verdict = f.judged() == "measured" ? "" : f.judged();
    if (!f.note.empty()) verdict += (verdict.empty() ? "" : ": ") + f.note;
    const std::string goal = f.goal == 0 ? "" : (f.at_most ? "≤ " : "≥ ") + part(f.goal);
    table += cat("| ", f.what, " | ", cell(f.value, f.unit), " | ", cell(f.rate, f.rate_unit), " | ", limit,
                 " | ", part(f.share), " | ", goal, " | ", verdict, " |\n");
  }
  return table;
}

std::string report_of(const ReportHead& head, const std::vector<Figure>& figures) {
  json::object o;
  o["date"] = head.date;
  o["device"] = head.device;
  o["driver"] = head.driver;
  o["machine"] = head.machine;
  o["command"] = head.command;
  o["commit"] = head.commit;
  // A figure a line: a report is read by people, too, and compared with the next one.
  std::string text = json::serialize(o);
  text.pop_back();
  text += ",\"figures\":[\n";
  for (size_t i = 0; i < figures.size(); ++i)
    text += json::serialize(object_of(figures[i])) + (i + 1 < figures.size() ? ",\n" : "\n");
  return text + "]}\n";
}

}  // namespace lapidary
