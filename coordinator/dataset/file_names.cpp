#include "coordinator/dataset/file_names.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <filesystem>

#include "configs/picture_format.h"

namespace lapidary {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::string lower_extension(const std::string& path) {
  return lower(std::filesystem::path(path).extension().string());
}

bool is_image_name(const std::string& path) {
  constexpr std::array<const char*, 9> kExtensions{".jpg",   ".jpeg", ".jpe",  ".jfif", ".jfi",
                                                   ".pjpeg", ".png",  ".apng", ".webp"};
  const std::string extension = lower_extension(path);
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

std::optional<size_t> tar_extension(const std::string& path) {
  constexpr std::array<const char*, 13> kExtensions{".tar",  ".tar.gz",  ".tgz",     ".tar.bz2",  ".tbz2",
                                                    ".tbz",  ".tar.xz",  ".tar.zst", ".tar.zstd", ".txz",
                                                    ".tzst", ".tar.lz4", ".tar.lzma"};
  const std::string name = lower(path);
  for (const std::string extension : kExtensions)
    if (name.ends_with(extension)) return extension.size();
  return std::nullopt;
}

std::string first_bytes(const std::string& path, bool& opened) {
  std::string head(kPictureHeadBytes, '\0');
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer would hang
  opened = fd >= 0;
  if (!opened) return "";
  struct stat status {};
  opened = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  ssize_t got = 0;
  if (opened) do {
      got = pread(fd, head.data(), head.size(), 0);
    } while (got < 0 && errno == EINTR);
  close(fd);
  opened = opened && got >= 0;
  head.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return head;
}

std::string absolute_path(const std::string& path) { return std::filesystem::absolute(path).string(); }

std::string plain_path(const std::string& path) {
  std::string plain = std::filesystem::path(path).lexically_normal().string();
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  return plain;
}

}  // namespace lapidary
