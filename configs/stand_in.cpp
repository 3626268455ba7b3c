#include "configs/stand_in.h"

#include <filesystem>

#include "configs/error.h"

namespace lapidary {
namespace {

/// "1234 bytes" of a pointer's line "size 1234".
std::string promised(std::string_view pointer) {
  const size_t at = pointer.find("\nsize ");
  if (at == pointer.npos) return "the file";
  const std::string_view rest = pointer.substr(at + 6);
  return cat("a file of ", rest.substr(0, rest.find_first_not_of("0123456789")), " bytes");
}

std::string folder_of(const std::string& file) {
  const std::string folder = std::filesystem::path(file).parent_path().string();
  return folder.empty() ? "its folder" : folder;
}

}  // namespace

void refuse_stand_in(std::string_view begin, const std::string& file) {
  if (begin.starts_with("version https://git-lfs.github.com/spec/"))
    fail(file, ": is a git-lfs pointer to ", promised(begin), ", not that file: run `git lfs pull` in ",
         folder_of(file));
  const size_t first = begin.find_first_not_of(" \t\r\n");
  if (first != begin.npos && begin[first] == '<')
    fail(file, ": is a web page (HTML or XML), not the file: download it again");
  if (begin.starts_with("PK\x03\x04"))
    fail(file, ": is a ZIP archive (a PyTorch file, perhaps); only safetensors and JSON files are read");
  if (begin.starts_with("\x1f\x8b")) fail(file, ": is compressed by gzip: unpack it (gunzip) first");
}

}  // namespace lapidary
