#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <thread>

#include "configs/byte_budget.h"
#include "coordinator/caption/caption_run.h"
#include "coordinator/cli/engine.h"
#include "coordinator/cli/sinks/record_sinks.h"
#include "coordinator/dataset/item_keys.h"
#include "coordinator/records/job_folder.h"
#include "coordinator/text/tokenizer.h"

namespace lapidary {

/// What the command line of `lapidary caption` says.
struct CaptionOptions {
  EngineFlags flags;
  std::vector<std::string> inputs;
  std::filesystem::path tokenizer;  // empty: the model's
  std::vector<std::string> prompts{"caption en"};
  std::optional<int64_t> max_new_tokens;
  std::optional<float> temperature, top_p;
  std::optional<int32_t> top_k;
  uint64_t seed = 0;
  bool ignore_eos = false;

  std::filesystem::path output;
  SinkOptions sinks;
  OutputFormat output_format = OutputFormat::jsonl;
  int64_t records_a_part = 10'000;
  bool retry_failed = false;
  bool strict = false;

  Mode mode = Mode::throughput;
  int64_t layer_group = 0, steps_ahead = 0;
  double step_deadline_seconds = 300;
  std::filesystem::path hostfile, trace;
  std::string listen;  // ADDRESS:PORT: workers are started by hand
  bool quiet = false;
};

/// What every rank knows before it loads anything.
struct Setup {
  ModelConfig config;  // as the weights have it
  CaptionSettings settings;
  std::vector<std::string> remarks;  // about the model
};

/// Fails at the door for what could only fail later. The options are completed: room for the prompt is made
/// here, a byte of which is a token at most.
Setup set_up(CaptionOptions& options);

/// What the coordinator alone needs: where items come from and records go.
class Job {
 public:
  /// Throws the sentence of whatever is wrong with inputs, output, tokenizer or prompt.
  Job(const CaptionOptions& options, const Setup& setup);
  ~Job();

  /// The next item that no earlier run has recorded; on the reader's thread.
  std::optional<DatasetItem> next();
  /// No more items are wanted; on any thread.
  void cancel();
  RecordSink& sink() { return sinks_->first(); }
  /// None: no folder, which nothing goes on from.
  JobFolder* folder() { return folder_ ? &*folder_ : nullptr; }
  /// Throws a sentence for a prompt that the model cannot take.
  std::vector<int32_t> prefix(int64_t images, const std::string& prompt) const;
  std::string text(std::span<const int32_t> ids) const { return tokenizer_.decode(ids, true); }
  const Tokenizer& tokenizer() const { return tokenizer_; }

  /// What the pictures hold that were read ahead, and may.
  const ByteBudget& read_ahead() const { return read_ahead_; }

  /// All items, once they are counted, and those that earlier runs have recorded.
  int64_t total() const { return total_; }
  int64_t before() const { return before_; }
  /// What became of the inputs, a sentence each, for the summary; after the last `next`.
  std::vector<std::string> remarks() const;
  /// Broken sources so far, and the first one's error.
  int64_t broken_sources() const { return broken_; }
  const std::string& first_broken() const { return first_broken_; }
  /// Standard output's lines and a progress bar may share a terminal.
  void before_line(std::function<void()> make_way) { make_way_ = std::move(make_way); }

 private:
  static bool holds_bytes(const DatasetItem& item);
  void judge(DatasetItem& item);
  std::optional<DatasetItem> next_suspect();

  ModelConfig config_;
  Tokenizer tokenizer_;
  const int64_t max_model_len_;
  const size_t longest_piece_;  // bytes, of the tokenizer
  ByteBudget read_ahead_;       // of pictures of compressed tars
  Inputs inputs_;
  ItemKeys keys_;  // of what goes to no folder
  std::optional<LineOutput> lines_;
  std::optional<JobFolder> folder_;
  std::deque<DatasetItem> suspects_;  // the reader's; they come last
  bool inputs_ended_ = false;         // the reader's
  std::unique_ptr<RecordSink> line_sink_;
  std::optional<RecordSinks> sinks_;  // in front of the folder or the lines
  std::function<void()> make_way_;
  std::atomic<int64_t> total_ = 0, before_ = 0, broken_ = 0;
  std::string first_broken_;
  std::atomic<bool> cancelled_ = false;
  std::thread counter_;
};

}  // namespace lapidary
