#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace lapidary {

/// What goes into a test's tar: a file, or a link where `link` names what it leads to, or a folder (name ends
/// in /).
struct TarFile {
  std::string name;
  std::string bytes;
  std::string link = "";
};

inline void write_tar_file(archive* tar, const TarFile& file) {
  const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(),
                                                                            archive_entry_free);
  archive_entry_set_pathname(entry.get(), file.name.c_str());
  archive_entry_set_perm(entry.get(), 0644);
  archive_entry_set_filetype(entry.get(), file.name.back() == '/' ? AE_IFDIR : AE_IFREG);
  if (!file.link.empty()) {
    archive_entry_set_filetype(entry.get(), AE_IFLNK);
    archive_entry_set_symlink(entry.get(), file.link.c_str());
  }
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(file.bytes.size()));
  if (archive_write_header(tar, entry.get()) < ARCHIVE_WARN)
    throw std::runtime_error(archive_error_string(tar));
  if (!file.bytes.empty() && archive_write_data(tar, file.bytes.data(), file.bytes.size()) < 0)
    throw std::runtime_error(archive_error_string(tar));
}

/// `format`: "ustar", "gnutar" or "pax"; `filter`: "none", "gzip" or "zstd".
inline void write_tar(const std::filesystem::path& path, const std::vector<TarFile>& files,
                      const std::string& format = "ustar", const std::string& filter = "none") {
  std::filesystem::create_directories(path.parent_path());
  const std::unique_ptr<archive, decltype(&archive_write_free)> tar(archive_write_new(), archive_write_free);
  archive_write_set_format_by_name(tar.get(), format.c_str());
  if (filter != "none") archive_write_add_filter_by_name(tar.get(), filter.c_str());
  if (archive_write_open_filename(tar.get(), path.c_str()) != ARCHIVE_OK)
    throw std::runtime_error(archive_error_string(tar.get()));
  for (const TarFile& file : files) write_tar_file(tar.get(), file);
  if (archive_write_close(tar.get()) != ARCHIVE_OK) throw std::runtime_error(archive_error_string(tar.get()));
}

}  // namespace lapidary
