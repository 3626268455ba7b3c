#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <span>
#include <string>
#include <vector>

#include "coordinator/inputs.h"
#include "coordinator/progress.h"
#include "coordinator/record.h"
#include "coordinator/scheduler.h"
#include "coordinator/task_pool.h"

namespace lapidary {

/// An image as the vision tower takes it, and the size it had.
struct LoadedImage {
  int64_t width = 0;  // of the file
  int64_t height = 0;
  std::string rgb;  // RGB8, image_size * image_size * 3 bytes
};

struct CaptionSettings {
  std::string prompt;  // of items that bring none
  int64_t max_new_tokens = 64;
  wire::Sampling sampling;
  std::vector<int32_t> eos;
  int64_t look_ahead = 16;  // images loaded before it is their turn
};

/// All that captioning leaves to others. What throws Error (but `run` and `write`) fails that item only.
struct CaptionParts {
  std::function<LoadedImage(const std::filesystem::path&)> load;  // called on the pool's threads
  std::function<std::vector<int32_t>(int64_t images, const std::string& prompt)> prefix;
  std::function<std::string(std::span<const int32_t>)> text;
  std::function<wire::StepDone(const wire::Step&)> run;
  std::function<void(const Record&, const Item&)> write;  // in input order
  std::function<void(const Counts&)> progress;            // after each step and record
  std::function<bool()> stop;                             // asked before each step
};

/// Makes a record of every item: loads images ahead on a pool of threads, keeps the workers' steps full, and
/// writes in input order. An item that cannot be captioned becomes a record with an error; nothing else
/// notices.
class Captioner {
 public:
  Captioner(CaptionSettings settings, const Limits& limits, CaptionParts parts, TaskPool& pool);

  /// Until the inputs end or `stop` says so; then, or when `run` throws, what is finished but waits for an
  /// earlier one is written too.
  Counts caption(Inputs& inputs);

 private:
  struct Job {
    Item item;
    std::future<std::vector<LoadedImage>> loading;
    std::vector<LoadedImage> images;  // until their step
    Record record;
    bool finished = false;
  };

  Job& job(uint64_t id) { return jobs_.at(static_cast<size_t>(id - first_)); }
  void load_ahead(Inputs& inputs);
  void submit_loaded();
  void submit(uint64_t id);
  bool is_loaded(Job& job) const;
  bool step();
  void attach_pixels(Plan& plan);
  void take(const Event& event);
  void finish(Job& job);
  void fail_job(Job& job, const std::string& error);
  void write(Job& job);
  void write_in_order();
  void write_all_finished();

  CaptionSettings settings_;
  CaptionParts parts_;
  Limits limits_;
  Scheduler scheduler_;
  TaskPool& pool_;
  Counts counts_;
  bool exhausted_ = false;    // the inputs have no more
  std::deque<Job> jobs_;      // not yet written, in input order
  uint64_t first_ = 0;        // number of jobs_[0]; a job's number is its request's id
  uint64_t unsubmitted_ = 0;  // the first job that the scheduler has not seen
};

}  // namespace lapidary
