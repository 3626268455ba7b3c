#include "coordinator/dataset/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <clocale>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include "configs/error.h"
#include "coordinator/dataset/inputs.h"

namespace lapidary {
namespace {

/// The library turns names into the calling thread's character set, and what the "C" one lacks into question
/// marks: two entries could then have one name. Made once a tar: making a locale reads files.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {}
  ~Utf8Locale() {
    if (locale_ != nullptr) freelocale(locale_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

  /// Calls `body` with names in UTF-8.
  template <class Body>
  auto with(const Body& body) const {
    const locale_t before = locale_ != nullptr ? uselocale(locale_) : nullptr;
    const auto result = body();
    if (before != nullptr) uselocale(before);
    return result;
  }

 private:
  const locale_t locale_;
};

/// The size of a regular file.
int64_t size_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) fail(path, ": ", std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path, ": not a regular file");
  if (status.st_size == 0) fail(path, ": an empty file, no tar");
  return status.st_size;
}

bool hidden(const std::string& name) {
  for (size_t part = 0; part < name.size(); part = std::min(name.find('/', part), name.size() - 1) + 1)
    if (name[part] == '.') return true;
  return false;
}

std::string name_of(archive_entry* entry) {
  const char* text = archive_entry_pathname(entry);
  std::string name = text != nullptr ? text : "";
  while (name.starts_with("./")) name.erase(0, 2);
  return name;
}

}  // namespace

struct TarReader::Impl {
  Impl(const std::string& path, Bytes bytes)
      : path_(path),
        want_data_(bytes == Bytes::read),
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
      const std::string name = name_of(entry_);
      if (archive_entry_filetype(entry_) != AE_IFDIR && !hidden(name) && is_image_name(name))
        return take(name);
    }
  }

  void advance();
  void check_whole();
  void check_end();
  TarEntry take(const std::string& name);
  std::string read_data();
  [[noreturn]] void refuse();

  const std::string path_;
  const bool want_data_;
  const int64_t size_;
  const Utf8Locale utf8_;
  std::unique_ptr<archive, decltype(&archive_read_free)> tar_;
  archive_entry* entry_ = nullptr;  // where it stands; none: the end
  bool fresh_ = true;               // that entry was not given yet
  bool ended_ = false;
  bool compressed_ = false;
  int64_t entries_ = 0;
};

void TarReader::Impl::advance() {
  entry_ = nullptr;
  if (ended_) return;
  const int result = utf8_.with([&] { return archive_read_next_header(tar_.get(), &entry_); });
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

TarEntry TarReader::Impl::take(const std::string& name) {
  TarEntry found{name, archive_read_header_position(tar_.get()), {}, std::nullopt};
  const int64_t size = archive_entry_size(entry_);
  if (archive_entry_filetype(entry_) != AE_IFREG || archive_entry_hardlink(entry_) != nullptr)
    found.error = cat(path_, ": ", name, ": a link, not a file");
  else if (size == 0)
    found.error = cat(path_, ": ", name, ": empty");
  else if (compressed_ && size > kMaxEntryBytes)
    found.error = cat(path_, ": ", name, ": has ", size, " bytes, more than the ", kMaxEntryBytes,
                      " that a picture in a compressed tar may have");
  else if (compressed_ && want_data_)
    found.data = read_data();
  else if (compressed_ && archive_read_data_skip(tar_.get()) != ARCHIVE_OK)
    refuse();
  return found;
}

std::string TarReader::Impl::read_data() {
  std::string data(static_cast<size_t>(archive_entry_size(entry_)), '\0');
  for (size_t have = 0; have < data.size();) {
    const la_ssize_t got = archive_read_data(tar_.get(), data.data() + have, data.size() - have);
    if (got <= 0) refuse();
    have += static_cast<size_t>(got);
  }
  return data;
}

void TarReader::Impl::refuse() {
  entry_ = nullptr;
  ended_ = true;
  const char* why = archive_error_string(tar_.get());
  if (entries_ == 0) fail(path_, ": no tar: ", why != nullptr ? why : "cannot be read");
  fail(path_, ": broken after ", entries_, " entries: ", why != nullptr ? why : "cannot be read");
}

TarReader::TarReader(const std::string& path, Bytes bytes) : impl_(std::make_unique<Impl>(path, bytes)) {}
TarReader::~TarReader() = default;
TarReader::TarReader(TarReader&&) noexcept = default;

std::optional<TarEntry> TarReader::next() { return impl_->next(); }

bool TarReader::compressed() const { return impl_->compressed_; }

std::optional<size_t> tar_extension(const std::string& path) {
  constexpr std::array<const char*, 4> kExtensions{".tar", ".tar.gz", ".tgz", ".tar.zst"};
  std::string lower = path;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const std::string extension : kExtensions)
    if (lower.ends_with(extension)) return extension.size();
  return std::nullopt;
}

}  // namespace lapidary
