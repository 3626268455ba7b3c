#include "coordinator/dataset/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "configs/error.h"
#include "configs/picture_format.h"
#include "coordinator/dataset/file_names.h"

namespace lapidary {
namespace {

/// The size of a regular file.
int64_t size_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) fail(path, ": ", std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path, ": not a regular file");
  if (status.st_size == 0) fail(path, ": an empty file, no tar");
  return status.st_size;
}

/// The bytes of the tar, whatever character set they are in and this process has.
std::string name_of(archive_entry* entry) {
  const char* text = archive_entry_pathname_utf8(entry);
  if (text == nullptr) text = archive_entry_pathname(entry);
  return text != nullptr ? text : "";
}

std::string bare_name(std::string name) {
  while (name.starts_with("./") || name.starts_with("/")) name.erase(0, name.find('/') + 1);
  return name;
}

}  // namespace

struct TarReader::Impl {
  Impl(const std::string& path, const Options& options)
      : path_(path),
        want_data_(options.bytes == Bytes::read),
        left_out_(options.left_out != nullptr ? *options.left_out : unused_),
        cancelled_(options.cancelled),
        budget_(options.budget),
        most_bytes_(budget_ != nullptr ? std::min(kMaxEntryBytes, budget_->all()) : kMaxEntryBytes),
        size_(size_of(path)),
        tar_(archive_read_new(), archive_read_free) {
    archive_read_support_format_tar(tar_.get());
    archive_read_support_filter_all(tar_.get());
    // Small reads: what lies between two headers is jumped over.
    constexpr size_t kBlock = 16 << 10;
    if (archive_read_open_filename(tar_.get(), path_.c_str(), kBlock) != ARCHIVE_OK) refuse();
    advance();
  }

  std::optional<TarEntry> next() {
    for (;;) {
      if (!std::exchange(fresh_, false)) advance();
      if (entry_ == nullptr) return std::nullopt;
      if (archive_entry_filetype(entry_) == AE_IFDIR) continue;
      if (is_picture()) return take();
    }
  }

  bool is_picture();
  bool is_cancelled() const { return cancelled_ != nullptr && *cancelled_; }
  void advance();
  bool pass_over_data();
  void check_whole();
  void check_end();
  TarEntry take();
  void read_data(TarEntry& found);
  void read_into(std::string& data, size_t bytes);
  [[noreturn]] void refuse();

  const std::string path_;
  const bool want_data_;
  LeftOut unused_;
  LeftOut& left_out_;
  const std::atomic<bool>* const cancelled_;
  ByteBudget* const budget_;
  const int64_t most_bytes_;  // of a picture in a compressed tar
  const int64_t size_;
  std::unique_ptr<archive, decltype(&archive_read_free)> tar_;
  archive_entry* entry_ = nullptr;  // where it stands; none: the end
  bool fresh_ = true;               // that entry was not given yet
  std::string head_;                // what was read of its data
  bool ended_ = false;
  bool compressed_ = false;
  int64_t entries_ = 0;
};

/// What is left of a member's data; false where it is broken. In steps: a member of a compressed tar may
/// stand for a hundred gigabytes, which the library would pass over in one call.
bool TarReader::Impl::pass_over_data() {
  const void* block = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  while (!is_cancelled()) {
    const int result = archive_read_data_block(tar_.get(), &block, &size, &offset);
    if (result != ARCHIVE_OK) return result == ARCHIVE_EOF;
  }
  ended_ = true;
  return true;
}

void TarReader::Impl::advance() {
  if (entry_ != nullptr && compressed_ && !pass_over_data()) refuse();
  entry_ = nullptr;
  head_.clear();
  if (ended_) return;
  const int result = archive_read_next_header(tar_.get(), &entry_);
  ended_ = result == ARCHIVE_EOF;
  if (ended_) entry_ = nullptr;
  // A warning is about the name's characters, or a time out of range. A header with a wrong sum would be
  // jumped over by the next call: what follows may then be anything.
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN && !ended_) refuse();
  if (ended_) return check_end();
  ++entries_;
  compressed_ = archive_filter_code(tar_.get(), 0) != ARCHIVE_FILTER_NONE;
  check_whole();
}

/// Jumping over the data of an entry that is cut off looks like the tar's end.
void TarReader::Impl::check_whole() {
  if (compressed_ || archive_entry_sparse_count(entry_) > 0) return;
  const int64_t begin = archive_filter_bytes(tar_.get(), 0);
  if (archive_entry_size(entry_) <= size_ - begin) return;
  const std::string name = name_of(entry_);
  entry_ = nullptr;
  ended_ = true;
  fail(path_, ": cut off after ", size_, " bytes, in ", name);
}

/// A tar ends with a block of zeros. Without one it may well have been cut off between two entries.
void TarReader::Impl::check_end() {
  if (compressed_ || entries_ == 0 || archive_read_header_position(tar_.get()) < size_) return;
  fail(path_, ": cut off after ", size_, " bytes and ", entries_, " entries: a tar's end mark is missing");
}

/// By its name, else by its first bytes.
bool TarReader::Impl::is_picture() {
  const std::string name = name_of(entry_);
  if (name.substr(name.rfind('/') + 1).starts_with('.')) {
    left_out_.add_hidden();
    return false;
  }
  if (is_image_name(name)) return true;
  const bool file = archive_entry_filetype(entry_) == AE_IFREG && archive_entry_hardlink(entry_) == nullptr;
  if (file)
    read_into(head_, static_cast<size_t>(std::min<int64_t>(archive_entry_size(entry_), kPictureHeadBytes)));
  if (picture_format(head_)) return true;
  left_out_.add_other(name);
  return false;
}

TarEntry TarReader::Impl::take() {
  TarEntry found;
  found.name = name_of(entry_);
  found.bare = bare_name(found.name);
  found.bytes = archive_entry_size(entry_);
  found.offset = archive_read_header_position(tar_.get());
  if (archive_entry_filetype(entry_) != AE_IFREG || archive_entry_hardlink(entry_) != nullptr)
    found.error = cat(path_, ": ", found.name, ": a link, not a file");
  else if (found.bytes == 0)
    found.error = cat(path_, ": ", found.name, ": empty");
  else if (compressed_ && found.bytes > most_bytes_)
    found.error = cat(path_, ": ", found.name, ": has ", found.bytes, " bytes, more than the ", most_bytes_,
                      " that a picture in a compressed tar may have",
                      most_bytes_ < kMaxEntryBytes ? " (an eighth of --image-memory-gb)" : "");
  else if (compressed_ && want_data_)
    read_data(found);
  else if (compressed_ && !pass_over_data())
    refuse();
  if (compressed_ && want_data_ && !found.error) found.data = std::move(head_);
  return found;
}

/// The memory first: who reads ahead waits here for who captions.
void TarReader::Impl::read_data(TarEntry& found) {
  if (budget_ != nullptr) found.share = budget_->take(found.bytes);
  if (!is_cancelled()) read_into(head_, static_cast<size_t>(found.bytes));
}

/// Until `data` has so many bytes of the entry.
void TarReader::Impl::read_into(std::string& data, size_t bytes) {
  size_t have = data.size();
  for (data.resize(bytes); have < bytes;) {
    const la_ssize_t got = archive_read_data(tar_.get(), data.data() + have, bytes - have);
    if (got <= 0) refuse();
    have += static_cast<size_t>(got);
  }
}

void TarReader::Impl::refuse() {
  entry_ = nullptr;
  ended_ = true;
  const char* why = archive_error_string(tar_.get());
  if (entries_ == 0) fail(path_, ": no tar: ", why != nullptr ? why : "cannot be read");
  fail(path_, ": broken after ", entries_, " entries: ", why != nullptr ? why : "cannot be read");
}

TarReader::TarReader(const std::string& path, const Options& options)
    : impl_(std::make_unique<Impl>(path, options)) {}
TarReader::~TarReader() = default;
TarReader::TarReader(TarReader&&) noexcept = default;

std::optional<TarEntry> TarReader::next() { return impl_->next(); }

bool TarReader::compressed() const { return impl_->compressed_; }

}  // namespace lapidary
