#include "coordinator/telemetry/trace_file.h"

#include <cinttypes>
#include <cstdio>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr std::string_view kEnd = "\n]\n";
constexpr size_t kBuffer = 1 << 20;

}  // namespace

TraceFile::TraceFile(const std::filesystem::path& path) : path_(path), out_(path, std::ios::binary) {
  if (!out_) fail(path.string(), ": cannot be written");
  out_ << "[" << kEnd;
}

void TraceFile::name_process(int process, const std::string& text) {
  name(process, 0, "process_name", text);
  // In the order of ranks, not of whatever came first.
  write(cat(R"({"ph":"M","pid":)", process, R"(,"tid":0,"name":"process_sort_index","args":{"sort_index":)",
            process, "}}"));
}

void TraceFile::name_thread(int process, int thread, const std::string& text) {
  name(process, thread, "thread_name", text);
}

void TraceFile::name(int process, int thread, const char* kind, const std::string& text) {
  write(cat(R"({"ph":"M","pid":)", process, R"(,"tid":)", thread, R"(,"name":")", kind,
            R"(","args":{"name":")", text, R"("}})"));
}

void TraceFile::add(int process, int thread, const char* name, int64_t begin, int64_t end, const char* what,
                    uint64_t number) {
  char text[256];
  const int size = std::snprintf(
      text, sizeof(text),
      R"({"ph":"X","pid":%d,"tid":%d,"name":"%s","ts":%.3f,"dur":%.3f,"args":{"%s":%)" PRIu64 "}}", process,
      thread, name, static_cast<double>(begin) / 1000, static_cast<double>(end - begin) / 1000, what, number);
  write(std::string(text, static_cast<size_t>(size)));
}

void TraceFile::write(const std::string& event) {
  waiting_ += empty_ ? "\n" : ",\n";
  waiting_ += event;
  empty_ = false;
  if (waiting_.size() >= kBuffer) flush();
}

void TraceFile::flush() {
  if (waiting_.empty()) return;
  waiting_ += kEnd;
  // Over the end that the last flush left.
  out_.seekp(-static_cast<std::streamoff>(kEnd.size()), std::ios::end);
  out_.write(waiting_.data(), static_cast<std::streamsize>(waiting_.size()));
  out_.flush();
  waiting_.clear();
}

void TraceFile::finish() {
  flush();
  if (!out_.flush()) fail(path_.string(), ": could not be written whole");
}

}  // namespace lapidary
