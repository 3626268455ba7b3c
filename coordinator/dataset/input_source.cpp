#include "coordinator/dataset/input_source.h"

#include <utility>

#include "configs/error.h"
#include "coordinator/dataset/file_names.h"
#include "coordinator/dataset/input_folder.h"
#include "coordinator/dataset/input_manifest.h"
#include "coordinator/dataset/tar_reader.h"

namespace lapidary {
namespace {

/// A picture of a compressed tar, with what it takes of the budget.
struct HeldPicture {
  ByteBudget::Share share;
  wire::ImageSource image;
};

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
  ShardReader(const InputSource& source, const ReadContext& context)
      : stem_(source.label),
        file_(shard_file(source)),
        path_(absolute_path(source.path)),
        tar_(source.path, {TarReader::Bytes::read, context.left_out, context.cancelled, context.budget}) {}

  std::optional<SourceItem> next() override {
    try {
      auto entry = tar_.next();
      if (!entry) return std::nullopt;
      return found(std::move(*entry));
    } catch (const Error& error) {
      return SourceItem{file_, {}, {}, error.what(), "", true};
    }
  }

 private:
  SourceItem found(TarEntry entry) {
    SourceItem found{key_of(entry.bare), {}, {}, std::move(entry.error), entry.name, false};
    if (found.error) return found;
    const auto held = std::make_shared<HeldPicture>();
    held->share = std::move(entry.share);
    wire::ImageSource& image = held->image;
    image.set_path(path_);
    image.set_in_tar(!tar_.compressed());
    if (tar_.compressed()) image.set_data(std::move(entry.data));
    image.set_offset(entry.offset);
    image.set_entry(entry.name);
    image.set_entry_bytes(entry.bytes);
    found.images.emplace_back(held, &image);
    return found;
  }

  /// A second picture of the same name but for its extension keeps that.
  std::string key_of(const std::string& name) {
    const size_t dot = name.rfind('.'), slash = name.rfind('/');
    std::string bare =
        name.substr(0, dot == name.npos || (slash != name.npos && dot < slash) ? name.size() : dot);
    const bool other_extension = bare == last_bare_ && name != last_name_;
    last_name_ = name;
    last_bare_ = std::move(bare);
    return stem_ + "/" + (other_extension ? name : last_bare_);
  }

  const std::string stem_, file_, path_;
  TarReader tar_;
  std::string last_name_, last_bare_;
};

std::unique_ptr<SourceReader> open_reader(const InputSource& source, const ReadContext& context) {
  switch (source.kind) {
    case SourceKind::folder:
      return std::make_unique<FolderReader>(source, context.left_out);
    case SourceKind::manifest:
    case SourceKind::list:
      return std::make_unique<ManifestReader>(source.path, source.label, context.cancelled);
    case SourceKind::tar:
      return std::make_unique<ShardReader>(source, context);
    case SourceKind::image:
      break;
  }
  SourceItem found;
  found.key = plain_path(source.path);
  found.name = plain_path(absolute_path(source.path));
  found.images.push_back(picture_file(absolute_path(source.path)));
  return std::make_unique<OneReader>(std::move(found));
}

}  // namespace

std::unique_ptr<SourceReader> open_source(const InputSource& source, const ReadContext& context) {
  try {
    return open_reader(source, context);
  } catch (const Error& error) {  // at the door it was still there
    const std::string key = source.kind == SourceKind::tar ? shard_file(source) : source.path;
    return std::make_unique<OneReader>(SourceItem{key, {}, {}, error.what(), "", true});
  }
}

}  // namespace lapidary
