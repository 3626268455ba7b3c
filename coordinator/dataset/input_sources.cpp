#include "coordinator/dataset/input_sources.h"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "configs/error.h"
#include "coordinator/dataset/brace.h"
#include "coordinator/dataset/input_folder.h"
#include "coordinator/dataset/input_manifest.h"
#include "coordinator/dataset/tar_reader.h"
#include "coordinator/dataset/tar_stems.h"

namespace lapidary {
namespace {

std::string lower_extension(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

/// The file's mode; none: there is no such file. Throws where it cannot be told.
std::optional<mode_t> mode_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0) return status.st_mode;
  if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG) fail(path, ": ", std::strerror(errno));
  return std::nullopt;
}

std::vector<std::string> matches_of(const std::string& pattern) {
  glob_t found{};
  const int result = glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  if (result == GLOB_NOSPACE) fail(pattern, ": matches more files than memory can hold");
  std::sort(paths.begin(), paths.end());  // not by the locale
  return paths;
}

SourceKind kind_of(const std::string& path, mode_t mode) {
  if (S_ISDIR(mode)) return SourceKind::folder;
  const std::string extension = lower_extension(path);
  if (extension == ".jsonl" || extension == ".ndjson") return SourceKind::manifest;
  return tar_extension(path) ? SourceKind::tar : SourceKind::image;
}

class Resolver {
 public:
  void add(const std::string& given) {
    if (given == "-") return add_list();
    if (given.empty()) fail("an input is empty");
    if (const auto mode = mode_of(given)) return add_path(given, *mode);
    const auto words = expand_braces(given);
    for (const std::string& word : words) {
      if (const auto mode = mode_of(word))
        add_path(word, *mode);
      else if (word.find_first_of("*?[") != word.npos)
        add_matches(word);
      else
        fail(words.size() > 1 ? given + ": " : "", word, ": no such file or folder");
    }
  }

  Sources finish() {
    std::vector<std::string> tars;
    for (InputSource& source : sources_.all) {
      if (source.kind == SourceKind::folder && sources_.all.size() > 1) {
        const size_t end = source.path.find_last_not_of('/');
        source.label = source.path.substr(0, end == source.path.npos ? 0 : end + 1) + "/";
      }
      if (source.kind == SourceKind::manifest && sources_.all.size() > 1)
        source.label = source.path.substr(0, source.path.rfind('/') + 1);
      if (source.kind != SourceKind::tar) continue;
      source.shard = static_cast<int64_t>(tars.size());
      tars.push_back(source.path);
    }
    const auto stems = tar_stems(tars);
    for (InputSource& source : sources_.all)
      if (source.shard >= 0) source.label = stems[static_cast<size_t>(source.shard)];
    for (const std::string& stem : stems)
      sources_.shards.push_back({static_cast<int64_t>(sources_.shards.size()), stem, 0});
    return std::move(sources_);
  }

 private:
  void add_path(const std::string& path, mode_t mode) {
    sources_.all.push_back({kind_of(path, mode), path, "", -1});
  }

  void add_matches(const std::string& pattern) {
    const auto paths = matches_of(pattern);
    if (paths.empty()) fail(pattern, ": no file or folder matches");
    for (const std::string& path : paths)
      if (const auto mode = mode_of(path)) add_path(path, *mode);
  }

  void add_list() {
    for (const InputSource& source : sources_.all)
      if (source.kind == SourceKind::list) fail("standard input (-) is named twice, and can be read once");
    sources_.all.push_back({SourceKind::list, "-", "", -1});
  }

  Sources sources_;
};

}  // namespace

Sources resolve_sources(const std::vector<std::string>& given) {
  if (given.empty()) fail("no input: name image files, folders, .jsonl manifests or tars");
  Resolver resolver;
  for (const std::string& source : given) resolver.add(source);
  Sources sources = resolver.finish();
  if (sources.all.empty()) fail("no input: nothing matches");
  return sources;
}

void check_sources(const Sources& sources) {
  constexpr auto kPatience = std::chrono::seconds(1);
  constexpr int64_t kLinesOfOne = 10'000, kLinesOfAll = 200'000, kTars = 1'000;
  const auto start = std::chrono::steady_clock::now();
  int64_t lines = kLinesOfAll, tars = kTars;
  for (const InputSource& source : sources.all) {
    if (source.kind == SourceKind::folder) check_folder(source.path);
    if (source.kind == SourceKind::manifest && lines > 0)
      lines -= check_manifest(source.path, std::min(lines, kLinesOfOne));
    if (source.kind == SourceKind::tar && tars-- > 0 && std::chrono::steady_clock::now() - start < kPatience)
      TarReader(source.path, TarReader::Bytes::skip);
  }
}

bool is_image_name(const std::string& path) {
  constexpr std::array<const char*, 4> kExtensions{".jpg", ".jpeg", ".png", ".webp"};
  const std::string extension = lower_extension(path);
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

}  // namespace lapidary
