#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "coordinator/records/durable.h"

namespace lapidary {

/// A large file of text that takes its name when it is whole; until then what was there stays.
class AnnotationFile {
 public:
  /// Where a link leads to a file, that one is replaced.
  explicit AnnotationFile(const std::filesystem::path& file);
  /// What was not finished goes away.
  ~AnnotationFile();
  AnnotationFile(const AnnotationFile&) = delete;
  AnnotationFile& operator=(const AnnotationFile&) = delete;

  void write(std::string_view text);
  void finish();

 private:
  std::filesystem::path file_, temporary_;
  DurableFile out_;
  std::string waiting_;
};

}  // namespace lapidary
