#include "coordinator/cli/sinks/record_sinks.h"

#include <utility>

namespace lapidary {

RecordSinks::RecordSinks(RecordSink& output, const SinkOptions& options,
                         std::function<std::vector<std::filesystem::path>()> files)
    : first_(&output) {
  constexpr int kThreads = 4;
  if (!options.draw.empty() || !options.mask_decoder.empty()) pool_ = std::make_unique<TaskPool>(kThreads);
  if (!options.draw.empty()) {
    drawings_ = std::make_unique<Drawings>(options.draw, *pool_);
    drawing_ = std::make_unique<DrawingSink>(*first_, *drawings_);
    first_ = drawing_.get();
  }
  if (!options.mask_decoder.empty()) {
    decoder_ = std::make_unique<MaskDecoder>(options.mask_decoder);
    masks_ = std::make_unique<MaskSink>(*first_, *decoder_, *pool_);
    first_ = masks_.get();
  }
  if (!options.annotations.empty()) {
    annotations_ = std::make_unique<AnnotationSink>(*first_, options.annotation_format, options.annotations,
                                                    std::move(files));
    first_ = annotations_.get();
  }
}

void RecordSinks::name(const DatasetItem& item, bool done) {
  if (drawings_) drawings_->name(item, done);
}

std::vector<std::string> RecordSinks::remarks() const {
  std::vector<std::string> remarks;
  if (const std::string text = drawings_ ? drawings_->remark() : ""; !text.empty()) remarks.push_back(text);
  if (annotations_ && !annotations_->remark().empty()) remarks.push_back(annotations_->remark());
  return remarks;
}

}  // namespace lapidary
