#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "configs/wire/wire.pb.h"

namespace lapidary {

/// What one record is made from.
struct DatasetItem {
  std::string key;                        // names the record; no other picture of the job has it
  std::vector<wire::ImageSource> images;  // of one prompt, in order; at least one, unless there is an error
  std::optional<std::string> prompt;      // none: the command's
  std::optional<std::string> error;       // why nothing can be made of it
  int64_t index = 0;                      // in the job's items, from 0
  int64_t shard = -1;                     // which of the job's tars it comes from, from 0; -1: none
};

/// One tar of the job.
struct Shard {
  int64_t number = 0;
  std::string stem;   // "00000": no other shard of the job has it
  int64_t items = 0;  // once it was read to its end
};

/// Everything to caption, in order, read as it is asked for and never held whole.
///
/// Sources, and the keys of their pictures:
/// - an image file: the path as given;
/// - a folder, with all images below it, sorted by path: the path below the folder, or where the job has
/// several sources
///   the folder as given, "/", and the path below it;
/// - a glob (* ? []) and braces ({00000..00999}, {a,b}): what they stand for, in order;
/// - a JSONL manifest, {"image": PATH or [PATHS], "prompt"?: TEXT or [TEXTS], "id"?} a line: the id, else the
/// first image
///   as written, a relative one with the manifest's folder before it where the job has several sources; an id
///   that several pictures have is the manifest's mistake; relative paths start at the manifest's folder;
/// - a tar (also .tar.gz, .tgz, .tar.zst): the tar's stem, "/", and the entry's name without its extension
///   ("00000/000123"), which a second picture of that name right behind it keeps ("00000/000123.png"); the
///   stem has the tar's folder before it where two tars of the job share one, "~2" behind it for the same tar
///   again;
/// - "-": a list on standard input, a path a line, or a manifest's line where it begins with {.
/// A picture with several prompts is an item for each, with the same key.
///
/// At the door, within about a second whatever the size: a missing path, a glob without matches, a folder
/// that cannot be listed or has no image, one of a manifest's first lines that is no such object, and a tar
/// that is none end in one sentence. What is found broken later is an item with an error, and the rest goes
/// on: its key is a manifest's path and the line ("list.jsonl:123"), a tar's stem and extension
/// ("00000.tar"), or the folder.
class Inputs {
 public:
  /// `prompts`: of pictures that bring none; an item for each. None: such items have no prompt.
  explicit Inputs(const std::vector<std::string>& sources, const std::vector<std::string>& prompts = {});
  ~Inputs();
  Inputs(Inputs&&) noexcept;

  std::optional<DatasetItem> next();
  /// From any thread: `next` gives nothing any more, soon even where it waits for a line of standard input.
  void cancel();
  /// Tars whose last item `next` has given since the last call; known once `next` has looked for one more.
  std::vector<Shard> ended_shards();
  /// Of every tar, as far as known without reading them.
  const std::vector<Shard>& shards() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How many items the sources have: a pass of its own, cheaper than reading them, for a thread of its own.
/// None where that cannot be told (standard input) or `cancelled` became true.
std::optional<int64_t> count_items(const std::vector<std::string>& sources, size_t prompts,
                                   const std::atomic<bool>& cancelled);

/// Whether a file's extension is one of an image: .jpg, .jpeg, .png, .webp, in any case.
bool is_image_name(const std::string& path);

}  // namespace lapidary
