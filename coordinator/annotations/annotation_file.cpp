#include "coordinator/annotations/annotation_file.h"

namespace lapidary {
namespace fs = std::filesystem;
namespace {

constexpr size_t kChunk = 1 << 20;

fs::path behind_links(const fs::path& file) {
  std::error_code ignored;
  return fs::is_symlink(file, ignored) && fs::exists(file, ignored) ? fs::canonical(file) : file;
}

}  // namespace

AnnotationFile::AnnotationFile(const fs::path& file)
    : file_(behind_links(file)),
      temporary_(temporary_beside(file_)),
      out_(temporary_, DurableFile::Open::truncated) {}

AnnotationFile::~AnnotationFile() {
  std::error_code ignored;
  if (out_.is_open()) fs::remove(temporary_, ignored);
}

void AnnotationFile::write(std::string_view text) {
  waiting_ += text;
  if (waiting_.size() < kChunk) return;
  out_.append(waiting_);
  waiting_.clear();
}

void AnnotationFile::finish() {
  out_.append(waiting_);
  out_.sync();
  rename_durably(temporary_, file_);
  out_.close();
}

}  // namespace lapidary
