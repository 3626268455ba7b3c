#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

namespace lapidary {

/// Writes a tar by libarchive, entry by entry.
class TarFile {
 public:
  enum class Format { ustar, pax, gnu };

  TarFile(const std::filesystem::path& path, Format format)
      : path_(path), tar_(archive_write_new(), archive_write_free) {
    archive* tar = tar_.get();
    if (format == Format::ustar) archive_write_set_format_ustar(tar);
    if (format == Format::pax) archive_write_set_format_pax(tar);
    if (format == Format::gnu) archive_write_set_format_gnutar(tar);
    // One block a write: what was added is in the file, so its size tells where the next entry begins.
    archive_write_set_bytes_per_block(tar, 512);
    check(archive_write_open_filename(tar, path.c_str()));
  }
  ~TarFile() { archive_write_close(tar_.get()); }

  /// Returns the offset of the entry's first header.
  int64_t add(const std::string& name, const std::string& bytes) { return add(name, AE_IFREG, bytes, ""); }
  int64_t add_folder(const std::string& name) { return add(name, AE_IFDIR, "", ""); }
  int64_t add_link(const std::string& name, const std::string& to) { return add(name, AE_IFREG, "", to); }
  void close() { check(archive_write_close(tar_.get())); }

 private:
  int64_t add(const std::string& name, unsigned type, const std::string& bytes, const std::string& hardlink) {
    const auto begin = static_cast<int64_t>(std::filesystem::file_size(path_));
    const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(),
                                                                              archive_entry_free);
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_filetype(entry.get(), type);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_mtime(entry.get(), 1'700'000'000, 123'456'789);  // the fraction needs a pax header
    archive_entry_set_size(entry.get(), static_cast<int64_t>(bytes.size()));
    if (!hardlink.empty()) archive_entry_set_hardlink(entry.get(), hardlink.c_str());
    check(archive_write_header(tar_.get(), entry.get()));
    if (!bytes.empty() && archive_write_data(tar_.get(), bytes.data(), bytes.size()) < 0)
      check(ARCHIVE_FATAL);
    check(archive_write_finish_entry(tar_.get()));
    return begin;
  }
  void check(int result) {
    if (result != ARCHIVE_OK) throw std::runtime_error(archive_error_string(tar_.get()));
  }

  std::filesystem::path path_;
  std::unique_ptr<archive, decltype(&archive_write_free)> tar_;
};

}  // namespace lapidary
