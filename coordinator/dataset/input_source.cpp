#include "coordinator/dataset/input_source.h"

#include <filesystem>
#include <utility>

#include "configs/error.h"
#include "coordinator/dataset/input_folder.h"
#include "coordinator/dataset/input_manifest.h"
#include "coordinator/dataset/tar_reader.h"

namespace lapidary {
namespace {

/// An image file, or a source that cannot be opened any more.
class OneReader : public SourceReader {
 public:
  explicit OneReader(SourceItem found) : found_(std::move(found)) {}
  std::optional<SourceItem> next() override { return std::exchange(found_, std::nullopt); }

 private:
  std::optional<SourceItem> found_;
};

/// "train/00000.tar" of stem "train/00000".
std::string shard_file(const InputSource& source) {
  return source.label + source.path.substr(source.path.size() - tar_extension(source.path).value_or(0));
}

/// The images of a tar; the tar's file name is the key of an error.
class ShardReader : public SourceReader {
 public:
  explicit ShardReader(const InputSource& source)
      : stem_(source.label),
        file_(shard_file(source)),
        path_(absolute_path(source.path)),
        tar_(source.path) {}

  std::optional<SourceItem> next() override {
    try {
      auto entry = tar_.next();
      if (!entry) return std::nullopt;
      return found(std::move(*entry));
    } catch (const Error& error) {
      return SourceItem{file_, {}, {}, error.what()};
    }
  }

 private:
  SourceItem found(TarEntry entry) {
    SourceItem found{key_of(entry.name), {}, {}, std::move(entry.error)};
    if (found.error) return found;
    wire::ImageSource& image = found.images.emplace_back();
    image.set_path(path_);
    image.set_in_tar(!tar_.compressed());
    if (tar_.compressed())
      image.set_data(std::move(entry.data));
    else
      image.set_offset(entry.offset);
    return found;
  }

  /// A second picture of the same name but for its extension keeps it.
  std::string key_of(const std::string& name) {
    std::string bare = name.substr(0, name.rfind('.'));
    const bool again = bare == last_;
    last_ = std::move(bare);
    return stem_ + "/" + (again ? name : last_);
  }

  const std::string stem_, file_, path_;
  TarReader tar_;
  std::string last_;
};

std::unique_ptr<SourceReader> open_reader(const InputSource& source, const std::atomic<bool>* cancelled) {
  switch (source.kind) {
    case SourceKind::folder:
      return std::make_unique<FolderReader>(source.path, source.label);
    case SourceKind::manifest:
    case SourceKind::list:
      return std::make_unique<ManifestReader>(source.path, source.label, cancelled);
    case SourceKind::tar:
      return std::make_unique<ShardReader>(source);
    case SourceKind::image:
      break;
  }
  SourceItem found{source.path, {}, {}, std::nullopt};
  found.images.emplace_back().set_path(absolute_path(source.path));
  return std::make_unique<OneReader>(std::move(found));
}

}  // namespace

std::unique_ptr<SourceReader> open_source(const InputSource& source, const std::atomic<bool>* cancelled) {
  try {
    return open_reader(source, cancelled);
  } catch (const Error& error) {  // at the door it was still there
    const std::string key = source.kind == SourceKind::tar ? shard_file(source) : source.path;
    return std::make_unique<OneReader>(SourceItem{key, {}, {}, error.what()});
  }
}

std::string absolute_path(const std::string& path) { return std::filesystem::absolute(path).string(); }

}  // namespace lapidary
