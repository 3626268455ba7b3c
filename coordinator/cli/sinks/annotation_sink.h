#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "configs/enum_names.h"
#include "coordinator/records/record_writer.h"

namespace lapidary {

/// What else than records a finished job may be written as.
enum class AnnotationFormat { coco };
template <>
struct EnumNames<AnnotationFormat> {
  static constexpr std::array kNames{"coco"};
};

/// Where another sink has all records in files, writes them as annotations, too.
class AnnotationSink : public RecordSink {
 public:
  /// Throws where `file` could not be written. `records`: the files, once the sink has finished.
  AnnotationSink(RecordSink& sink, AnnotationFormat format, std::filesystem::path file,
                 std::function<std::vector<std::filesystem::path>()> records);
  void add(const DatasetItem& item, const Record& record) override { sink_.add(item, record); }
  void commit() override { sink_.commit(); }
  void finish(bool whole) override;

  /// What was written; empty: nothing. After `finish`.
  const std::string& remark() const { return remark_; }

 private:
  RecordSink& sink_;
  const AnnotationFormat format_;
  const std::filesystem::path file_;
  const std::function<std::vector<std::filesystem::path>()> records_;
  std::string remark_;
};

}  // namespace lapidary
