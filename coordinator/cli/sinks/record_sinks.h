#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/cli/sinks/annotation_sink.h"
#include "coordinator/cli/sinks/draw.h"
#include "coordinator/cli/sinks/mask_maker.h"
#include "worker/lanes/task_pool.h"

namespace lapidary {

/// What is done with records beside writing them; empty: nothing.
struct SinkOptions {
  std::filesystem::path mask_decoder, draw, annotations;
  AnnotationFormat annotation_format = AnnotationFormat::coco;
};

/// The way of a record to the job's output: its masks are made, then its drawing, then it is written; at the
/// end all of them are written as annotations.
class RecordSinks {
 public:
  /// Throws the sentence of what is wrong with a file or folder. `files`: those that have the output's
  /// records when they are whole.
  RecordSinks(RecordSink& output, const SinkOptions& options,
              std::function<std::vector<std::filesystem::path>()> files);

  RecordSink& first() { return *first_; }
  /// Each item, in the order of the inputs. Any thread.
  void name(const DatasetItem& item, bool done);
  /// What became of it, a sentence each; after the end.
  std::vector<std::string> remarks() const;

 private:
  RecordSink* first_;
  std::unique_ptr<MaskDecoder> decoder_;
  std::unique_ptr<TaskPool> pool_;
  std::unique_ptr<Drawings> drawings_;
  std::unique_ptr<DrawingSink> drawing_;
  std::unique_ptr<MaskSink> masks_;
  std::unique_ptr<AnnotationSink> annotations_;
};

}  // namespace lapidary
