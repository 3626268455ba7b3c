// How a job of millions of lines starts, and goes on: the real coordinator, inputs, files and journal, with a
// worker that answers at once.   job_scale FOLDER LINES DONE: a manifest of LINES lines, of which an earlier
// run has DONE.
#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "coordinator/caption/caption_run.h"
#include "coordinator/records/job_folder.h"
#include "tests/support/mock_worker.h"

namespace lapidary {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Megabytes of this process: "VmHWM:" at most so far, "VmRSS:" now.
double megabytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(field, 0) == 0) return std::atof(line.c_str() + field.size()) / 1024;
  return 0;
}

JobOptions job_options() {
  JobOptions options;
  options.default_prompt = "caption en";
  options.fingerprint = {{"model", "mock"}};
  return options;
}

void make_manifest(const fs::path& file, int64_t lines) {
  std::ofstream out(file);
  for (int64_t i = 0; i < lines; ++i)
    out << R"({"image": "pictures/)" << i << R"(.jpg", "id": "picture )" << i << "\"}\n";
}

/// What an earlier run has left: as that run would have, through the folder itself.
void make_done(const fs::path& manifest, const fs::path& folder, int64_t done) {
  Inputs inputs({manifest.string()});
  JobFolder job(folder, job_options());
  for (int64_t i = 0; i < done; ++i) {
    const DatasetItem item = *inputs.next();
    Record record;
    record.key = item.key;
    record.prompt = "caption en";
    record.text = "a text of some length";
    job.add(item, record);
    if (i % 100'000 == 0) job.commit();
  }
  job.commit();
  job.finish(false);
}

class Sink : public RecordSink {
 public:
  Sink(JobFolder& job, Clock::time_point start) : job_(job), start_(start) {}
  void add(const DatasetItem& item, const Record& record) override {
    job_.add(item, record);
    ++records;
  }
  void commit() override {
    job_.commit();
    if (first_committed == 0) first_committed = seconds_since(start_);
  }
  void finish(bool whole) override { job_.finish(whole); }

  std::atomic<int64_t> records = 0;
  std::atomic<double> first_committed = 0;

 private:
  JobFolder& job_;
  Clock::time_point start_;
};

void run_job(const fs::path& manifest, const fs::path& folder, int64_t records) {
  const auto start = Clock::now();
  Inputs inputs({manifest.string()});
  JobFolder job(folder, job_options());
  std::printf("opened after %.2f s: %lld done before\n", seconds_since(start),
              static_cast<long long>(job.done_before()));
  Sink sink(job, start);
  FleetOptions options;
  options.server.version = "test";
  options.server.settings = {{"dtype", "model"}};
  options.server.token = "secret";
  CaptionSettings settings;
  settings.prompt = "caption en";
  settings.eos = std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{MockWorker::kEnd});
  CaptionRunParts parts;
  parts.source = [&]() -> std::optional<DatasetItem> {
    while (true) {
      auto item = inputs.next();
      if (!item || !job.take_if_done(*item)) return item;
    }
  };
  parts.prefix = [](int64_t, const std::string&) { return std::vector<int32_t>{7, 2, 3}; };
  parts.text = [](std::span<const int32_t>) { return std::string("a text of some length"); };
  parts.sink = &sink;
  parts.progress = [](const Counts&) {};
  parts.stop = [&] { return sink.first_committed > 0 && sink.records >= records; };
  parts.fleet.loading = [](int64_t, int64_t) {};
  parts.fleet.ready = [](int, const std::vector<wire::Ready>&) {};
  parts.fleet.log = [](const std::string& line) { std::printf("%s\n", line.c_str()); };
  boost::asio::io_context io;
  CaptionRun run(io, options, settings, parts);
  std::thread worker([endpoints = run.fleet().endpoints()] { MockWorker(endpoints, {}).wait(); });
  const Counts counts = run.run();
  worker.join();
  const double seconds = seconds_since(start);
  std::printf(
      "first records durable after %.2f s; %lld records in %.1f s; %.0f MB at most, mock worker included\n",
      sink.first_committed.load(), static_cast<long long>(counts.done), seconds, megabytes("VmHWM:"));
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::filesystem::path folder = argv[1];
  const int64_t lines = std::atoll(argv[2]), done = std::atoll(argv[3]);
  std::filesystem::create_directories(folder);
  if (!std::filesystem::exists(folder / "list.jsonl")) lapidary::make_manifest(folder / "list.jsonl", lines);
  if (done > 0 && !std::filesystem::exists(folder / "out")) {
    lapidary::make_done(folder / "list.jsonl", folder / "out", done);
    std::printf("prepared; run again\n");
    return 0;
  }
  lapidary::run_job(folder / "list.jsonl", folder / "out", 200'000);
}
