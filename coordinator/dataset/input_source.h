#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/dataset/inputs.h"
#include "coordinator/dataset/left_out.h"

namespace lapidary {

enum class SourceKind : uint8_t { image, folder, manifest, list, tar };

/// One source of a job, after globs and braces.
struct InputSource {
  SourceKind kind = SourceKind::image;
  std::string path;   // as given
  std::string label;  // of its keys: "FOLDER/" or "" of a folder or a manifest, a tar's stem
  int64_t shard = -1;
  std::string identity;  // its place from the root when the job first saw it; with "#2" the second time
  std::shared_ptr<const std::set<std::string>> tars;  // below this folder: sources of their own
};

/// A picture, or several of one prompt, before the job's prompts are put to it.
struct SourceItem {
  std::string key;
  std::vector<PictureSource> images;
  std::vector<std::string> prompts;  // its own
  std::optional<std::string> error;
  std::string name;     // that nothing else in its source has, or few have; "": the key
  bool broken = false;  // the error is of the source: nobody knows what else it would have held
};

/// What a reader goes by, and where it says what it leaves out.
struct ReadContext {
  const std::atomic<bool>* cancelled = nullptr;  // once true, a list on standard input and a tar end
  LeftOut* left_out = nullptr;                   // none: not counted
  ByteBudget* budget = nullptr;                  // as InputRules has it
};

/// Gives what one source holds. A source that breaks on the way gives a last one with an error; only the
/// constructors of readers throw.
class SourceReader {
 public:
  virtual ~SourceReader() = default;
  virtual std::optional<SourceItem> next() = 0;
};

/// Never throws for what a source is: one that cannot be opened gives an error.
std::unique_ptr<SourceReader> open_source(const InputSource& source, const ReadContext& context = {});

}  // namespace lapidary
