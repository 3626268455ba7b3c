#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/dataset/inputs.h"

namespace lapidary {

enum class SourceKind : uint8_t { image, folder, manifest, list, tar };

/// One source of a job, after globs and braces.
struct InputSource {
  SourceKind kind = SourceKind::image;
  std::string path;   // as given
  std::string label;  // of its keys: "FOLDER/" or "" of a folder or a manifest, a tar's stem
  int64_t shard = -1;
};

/// A picture, or several of one prompt, before the job's prompts are put to it.
struct SourceItem {
  std::string key;
  std::vector<wire::ImageSource> images;
  std::vector<std::string> prompts;  // its own
  std::optional<std::string> error;
};

/// Gives what one source holds. A source that breaks on the way gives a last one with an error; only the
/// constructors of readers throw.
class SourceReader {
 public:
  virtual ~SourceReader() = default;
  virtual std::optional<SourceItem> next() = 0;
};

/// Never throws for what a source is: one that cannot be opened gives an error. A list on standard input ends
/// once `cancelled`, if given, is true.
std::unique_ptr<SourceReader> open_source(const InputSource& source,
                                          const std::atomic<bool>* cancelled = nullptr);

/// From the root, links as they are: workers may run in another folder.
std::string absolute_path(const std::string& path);

}  // namespace lapidary
