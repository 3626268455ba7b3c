#include "coordinator/cli/sinks/annotation_sink.h"

#include <utility>

#include "coordinator/annotations/coco.h"

namespace lapidary {

AnnotationSink::AnnotationSink(RecordSink& sink, AnnotationFormat format, std::filesystem::path file,
                               std::function<std::vector<std::filesystem::path>()> records)
    : sink_(sink), format_(format), file_(std::move(file)), records_(std::move(records)) {
  check_annotations_file(file_);
}

void AnnotationSink::finish(bool whole) {
  sink_.finish(whole);
  if (!whole) return;
  switch (format_) {
    case AnnotationFormat::coco:
      remark_ = coco_remark(file_, write_coco(file_, records_()));
  }
}

}  // namespace lapidary
