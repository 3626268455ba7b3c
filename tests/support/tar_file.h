#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace lapidary {

/// What goes into a test's tar: a file; or a folder, whose name ends in /; or a link to `link`.
struct TarFile {
  std::string name;
  std::string bytes = "";
  std::string link = "";
  bool hard = false;  // of a link
};

/// Writes a tar by libarchive, entry by entry.
class TarWriter {
 public:
  /// `format`: "ustar", "gnutar" or "pax"; `filter`: "none", "gzip" or "zstd".
  explicit TarWriter(const std::filesystem::path& path, const std::string& format = "ustar",
                     const std::string& filter = "none")
      : path_(path), tar_(archive_write_new(), archive_write_free) {
    std::filesystem::create_directories(path.parent_path());
    check(archive_write_set_format_by_name(tar_.get(), format.c_str()));
    if (filter != "none") check(archive_write_add_filter_by_name(tar_.get(), filter.c_str()));
    // One block a write: what was added is in the file, so its size tells where the next entry begins.
    archive_write_set_bytes_per_block(tar_.get(), 512);
    check(archive_write_open_filename(tar_.get(), path.c_str()));
  }
  ~TarWriter() { archive_write_close(tar_.get()); }

  /// Returns the offset of the entry's first header, where nothing is compressed.
  int64_t add(const TarFile& file) {
    const auto begin = static_cast<int64_t>(std::filesystem::file_size(path_));
    const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(),
                                                                              archive_entry_free);
    archive_entry_set_pathname(entry.get(), file.name.c_str());
    archive_entry_set_filetype(entry.get(), file.name.back() == '/' ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_mtime(entry.get(), 1'700'000'000, 123'456'789);  // the fraction needs a pax header
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(file.bytes.size()));
    if (!file.link.empty() && file.hard) archive_entry_set_hardlink(entry.get(), file.link.c_str());
    if (!file.link.empty() && !file.hard) {
      archive_entry_set_filetype(entry.get(), AE_IFLNK);
      archive_entry_set_symlink(entry.get(), file.link.c_str());
    }
    check(archive_write_header(tar_.get(), entry.get()));
    if (!file.bytes.empty() && archive_write_data(tar_.get(), file.bytes.data(), file.bytes.size()) < 0)
      check(ARCHIVE_FATAL);
    check(archive_write_finish_entry(tar_.get()));
    return begin;
  }
  void close() { check(archive_write_close(tar_.get())); }

 private:
  /// A warning is about a name that the format keeps in another character set.
  void check(int result) {
    if (result < ARCHIVE_WARN) throw std::runtime_error(archive_error_string(tar_.get()));
  }

  std::filesystem::path path_;
  std::unique_ptr<archive, decltype(&archive_write_free)> tar_;
};

inline void write_tar(const std::filesystem::path& path, const std::vector<TarFile>& files,
                      const std::string& format = "ustar", const std::string& filter = "none") {
  TarWriter tar(path, format, filter);
  for (const TarFile& file : files) tar.add(file);
  tar.close();
}

}  // namespace lapidary
