#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace lapidary {

/// A file that is written so that a death leaves what was synced. All throw a sentence that names the file
/// and the system's reason.
class DurableFile {
 public:
  enum class Open : uint8_t {
    existing,   // or made; what it holds stays
    truncated,  // or made
  };
  DurableFile() = default;
  DurableFile(const std::filesystem::path& file, Open how);
  ~DurableFile();
  DurableFile(DurableFile&& other) noexcept;
  DurableFile& operator=(DurableFile&& other) noexcept;

  bool is_open() const { return fd_ >= 0; }
  const std::filesystem::path& path() const { return path_; }
  /// Bytes it holds; what `append` adds comes after them.
  int64_t size() const { return size_; }
  /// All of `bytes` or none: where they do not fit, what was written of them is taken back.
  void append(std::string_view bytes);
  void truncate(int64_t size);
  void sync();
  void close();

 private:
  [[noreturn]] void give_up(int error) const;

  std::filesystem::path path_;
  int fd_ = -1;
  int64_t size_ = 0;
};

/// What `sync` is for a folder: names made, renamed and removed in it.
void sync_folder(const std::filesystem::path& folder);
/// Renames within a file system and waits for the disk; the file itself must have been synced.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
/// Replaces the file as a whole, where a link leads to it the one behind the link: who reads it sees the old
/// bytes or the new ones. What is no regular file is written into.
void write_durably(const std::filesystem::path& file, std::string_view bytes);
/// ".NAME.tmp" beside it: what it is written to before it is renamed.
std::filesystem::path temporary_beside(const std::filesystem::path& file);

}  // namespace lapidary
