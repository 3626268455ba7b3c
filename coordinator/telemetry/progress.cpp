#include "coordinator/telemetry/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr int kBarWidth = 24;
constexpr auto kRedraw = std::chrono::milliseconds(200);
constexpr auto kPlain = std::chrono::seconds(10);

/// Two significant digits below 10, whole numbers above.
std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), value < 10 ? "%.1f" : "%.0f", value);
  return text;
}

std::string plural(int64_t n, const char* thing) { return cat(n, " ", thing, n == 1 ? "" : "s"); }

std::string rates_text(const Counts& counts, double seconds) {
  const double per_second = 1 / std::max(seconds, 1e-9);
  return cat(number_text(static_cast<double>(counts.done) * per_second), " images/s, ",
             number_text(static_cast<double>(counts.tokens) * per_second), " tokens/s");
}

}  // namespace

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  for (; bytes >= 999.5 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1000;
  return cat(unit == 0 ? cat(static_cast<int64_t>(bytes)) : number_text(bytes), " ", kUnits[unit]);
}

std::string duration_text(double seconds) {
  const auto all = static_cast<int64_t>(seconds + 0.5);
  char text[64];
  if (all < 60) {
    std::snprintf(text, sizeof(text), "%ld s", static_cast<long>(all));
  } else if (all < 3600) {
    std::snprintf(text, sizeof(text), "%ld min %02ld s", static_cast<long>(all / 60),
                  static_cast<long>(all % 60));
  } else {
    std::snprintf(text, sizeof(text), "%ld h %02ld min", static_cast<long>(all / 3600),
                  static_cast<long>(all % 3600 / 60));
  }
  return text;
}

std::string bar_text(double fraction, int width) {
  const int inner = width - 2;
  const int full = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * inner);
  std::string bar(static_cast<size_t>(full), '=');
  if (full < inner) bar += '>';
  bar.resize(static_cast<size_t>(inner), ' ');
  return "[" + bar + "]";
}

std::string counts_text(const Counts& counts, double seconds, bool bar) {
  std::string text;
  const int64_t all = counts.before + counts.done, left = counts.total - all;
  if (bar && counts.total > 0)
    text += bar_text(static_cast<double>(all) / static_cast<double>(counts.total), kBarWidth) + " ";
  text += counts.total > 0 ? cat(all, "/", counts.total, " images") : plural(all, "image");
  text += ", " + rates_text(counts, seconds);
  if (counts.done > 0 && left > 0)
    text += ", ETA " + duration_text(seconds / static_cast<double>(counts.done) * static_cast<double>(left));
  if (counts.failed > 0) text += cat(", ", counts.failed, " failed");
  return text;
}

std::string summary_text(const Counts& counts, double seconds) {
  std::string text = cat(plural(counts.done, "image"), " in ", duration_text(seconds), " (",
                         rates_text(counts, seconds), ")");
  if (counts.failed > 0) text += cat("; ", counts.failed, " of them failed, see the records' \"error\"");
  if (counts.before > 0) text += cat("; ", counts.before, " were done before");
  const int64_t all = counts.before + counts.done;
  if (all < counts.total) text += cat("; ", counts.total - all, " not done");
  return text;
}

Progress::Progress(bool quiet)
    : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1), start_(Clock::now()), shown_(start_) {}

Progress::~Progress() {
  if (drawn_) messages_.say("\n");
}

void Progress::restart() {
  const std::lock_guard lock(mutex_);
  start_ = Clock::now();
}

bool Progress::due(bool last) {
  if (quiet_) return false;
  const auto now = Clock::now();
  if (terminal_ ? !last && now - shown_ < kRedraw : now - shown_ < kPlain) return false;
  shown_ = now;
  return true;
}

void Progress::show(const std::string& text) {
  // \033[K: what a longer line left behind.
  messages_.show(terminal_ ? cat("\r", text, "\033[K") : text + "\n");
  drawn_ = terminal_;
}

void Progress::counts(const Counts& counts) {
  const std::lock_guard lock(mutex_);
  if (due(counts.total > 0 && counts.before + counts.done == counts.total))
    show(counts_text(counts, seconds(), terminal_));
}

void Progress::bytes(const std::string& what, int64_t loaded, int64_t total) {
  const std::lock_guard lock(mutex_);
  if (!due(loaded == total)) return;
  const double fraction = total > 0 ? static_cast<double>(loaded) / static_cast<double>(total) : 1;
  show(cat(what, " ", terminal_ ? bar_text(fraction, kBarWidth) + " " : "",
           bytes_text(static_cast<double>(loaded)), " of ", bytes_text(static_cast<double>(total))));
}

void Progress::clear() {
  const std::lock_guard lock(mutex_);
  if (drawn_) messages_.say("\r\033[K");
  drawn_ = false;
}

void Progress::say(const std::string& line) {
  clear();
  messages_.say(line + "\n");
}

}  // namespace lapidary
