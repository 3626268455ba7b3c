#include "coordinator/dataset/input_sources.h"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <unordered_set>

#include "configs/error.h"
#include "coordinator/dataset/brace.h"
#include "coordinator/dataset/file_names.h"
#include "coordinator/dataset/input_folder.h"
#include "coordinator/dataset/input_manifest.h"
#include "coordinator/dataset/tar_reader.h"
#include "coordinator/dataset/tar_stems.h"

namespace lapidary {
namespace {

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

/// Also of a manifest that somebody has compressed: it says so itself.
bool is_manifest_name(const std::string& path) {
  std::string name = path;
  if (const std::string last = lower_extension(name); last == ".gz" || last == ".zst" || last == ".bz2")
    name.resize(name.size() - last.size());
  const std::string extension = lower_extension(name);
  return extension == ".jsonl" || extension == ".ndjson";
}

SourceKind kind_of(const std::string& path, mode_t mode) {
  if (S_ISDIR(mode)) return SourceKind::folder;
  if (is_manifest_name(path)) return SourceKind::manifest;
  return tar_extension(path) ? SourceKind::tar : SourceKind::image;
}

void label(InputSource& source, bool several) {
  if (!several || (source.kind != SourceKind::folder && source.kind != SourceKind::manifest)) return;
  const std::string path = plain_path(source.path);
  if (source.kind == SourceKind::manifest)
    source.label = path.substr(0, path.rfind('/') + 1);
  else if (path != ".")
    source.label = path + (path.ends_with('/') ? "" : "/");
}

/// Nothing is left where the job saw it. (A source that was given a second time has "#2" behind its place.)
bool has_moved(const LabelledSource& source) {
  return source.absolute.ends_with(source.path) && !mode_of(source.absolute);
}

const LabelledSource* find_known(const InputSource& source, const std::vector<LabelledSource>& known) {
  if (known.empty() || !has_label(source.kind)) return nullptr;
  const LabelledSource own = labelled_source(source);
  const LabelledSource* found = nullptr;
  for (const LabelledSource& one : known) {
    if (one.absolute == own.absolute) return &one;
    if (one.path == own.path && found == nullptr && has_moved(one)) found = &one;
  }
  return found;
}

/// A tar that is new does not take the stem of a known one.
void label_tars(std::vector<InputSource>& sources, const std::vector<LabelledSource>& known) {
  std::vector<InputSource*> tars;
  std::vector<std::string> paths;
  std::unordered_set<std::string> taken;
  for (const LabelledSource& one : known) taken.insert(one.label);
  for (InputSource& source : sources) {
    if (source.kind != SourceKind::tar) continue;
    tars.push_back(&source);
    paths.push_back(source.path);
  }
  const auto stems = tar_stems(paths);
  for (size_t i = 0; i < tars.size(); ++i) {
    tars[i]->label = stems[i];
    if (taken.empty() || find_known(*tars[i], known) != nullptr) continue;
    for (int time = 2; !taken.insert(tars[i]->label).second; ++time)
      tars[i]->label = cat(stems[i], "~", time);
  }
}

/// Which of two pictures with one key keeps it depends on the order. What earlier runs have read comes first,
/// in their order, unless that is how it is given.
void order_as_known(std::vector<InputSource>& sources, const std::vector<LabelledSource>& known) {
  if (known.empty()) return;
  std::vector<std::pair<size_t, InputSource>> placed;
  for (InputSource& source : sources) {
    const auto* before = find_known(source, known);
    const size_t place = before ? static_cast<size_t>(before - known.data()) : known.size();
    if (has_label(source.kind)) placed.emplace_back(place, std::move(source));
  }
  const auto earlier = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::stable_sort(placed.begin(), placed.end(), earlier);
  auto next = placed.begin();
  for (InputSource& source : sources)
    if (has_label(source.kind)) source = std::move((next++)->second);
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

  Sources finish(const std::vector<LabelledSource>& known) {
    const bool several = given_ > 1 || !known.empty();
    std::map<std::string, int> times;
    for (InputSource& source : sources_.all) {
      label(source, several);
      const std::string place = plain_path(absolute_path(source.path));
      const int time = ++times[place];
      source.identity = time == 1 ? place : cat(place, "#", time);
    }
    label_tars(sources_.all, known);
    for (InputSource& source : sources_.all) {
      const auto* before = find_known(source, known);
      if (before == nullptr) continue;
      source.label = before->label;
      source.identity = before->absolute;
    }
    order_as_known(sources_.all, known);
    for (InputSource& source : sources_.all) {
      if (source.kind != SourceKind::tar) continue;
      source.shard = static_cast<int64_t>(sources_.shards.size());
      sources_.shards.push_back({source.shard, source.label, 0});
    }
    return std::move(sources_);
  }

 private:
  void add_path(const std::string& path, mode_t mode) {
    ++given_;
    InputSource& source = sources_.all.emplace_back();
    source.kind = kind_of(path, mode);
    source.path = path;
    if (source.kind == SourceKind::folder) add_tars_of(sources_.all.size() - 1);
  }

  void add_tars_of(size_t folder) {
    const std::string path = sources_.all[folder].path;
    const auto tars = std::make_shared<const std::set<std::string>>(tars_below(path));
    sources_.all[folder].tars = tars;
    for (const std::string& tar : *tars) {
      InputSource& source = sources_.all.emplace_back();
      source.kind = SourceKind::tar;
      source.path = path + (path.ends_with('/') ? "" : "/") + tar;
    }
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
    ++given_;
    InputSource& source = sources_.all.emplace_back();
    source.kind = SourceKind::list;
    source.path = "-";
  }

  Sources sources_;
  size_t given_ = 0;
};

}  // namespace

Sources resolve_sources(const std::vector<std::string>& given, const std::vector<LabelledSource>& known) {
  if (given.empty()) fail("no input: name image files, folders, .jsonl manifests or tars");
  Resolver resolver;
  for (const std::string& source : given) resolver.add(source);
  Sources sources = resolver.finish(known);
  if (sources.all.empty()) fail("no input: nothing matches");
  return sources;
}

void check_sources(const Sources& sources, bool strict) {
  constexpr int64_t kAllLines = std::numeric_limits<int64_t>::max();
  const bool alone = sources.all.size() == 1;
  for (const InputSource& source : sources.all) {
    if (source.kind == SourceKind::folder) check_folder(source.path);
    if (!strict && !alone) continue;
    if (source.kind == SourceKind::manifest) check_manifest(source.path, strict ? kAllLines : 1);
    if (source.kind == SourceKind::tar) TarReader(source.path, {.bytes = TarReader::Bytes::skip});
  }
}

bool has_label(SourceKind kind) { return kind != SourceKind::image && kind != SourceKind::list; }

LabelledSource labelled_source(const InputSource& source) {
  return {plain_path(source.path), source.identity, source.label};
}

}  // namespace lapidary
