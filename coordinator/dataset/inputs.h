#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "configs/byte_budget.h"
#include "configs/wire/wire.pb.h"
#include "coordinator/dataset/left_out.h"

namespace lapidary {

/// Where a picture is, or its bytes, which are held once however many items want them.
using PictureSource = std::shared_ptr<const wire::ImageSource>;
PictureSource picture_file(const std::string& path);

/// What one record is made from.
struct DatasetItem {
  std::string key;                    // names the record, once ItemKeys has given it its own; UTF-8
  std::vector<PictureSource> images;  // of one prompt, in order; at least one, unless there is an error
  std::optional<std::string> prompt;  // none: the command's
  std::optional<std::string> error;   // why nothing can be made of it
  int64_t index = 0;                  // in the job's items, from 0
  int64_t shard = -1;                 // which of the job's tars it comes from, from 0; -1: none
  uint64_t picture = 0;               // tells its picture from all others, in this run and the next
  uint64_t identity = 0;              // and the item, by its prompt
  bool broken_source = false;         // the error is of a source, which may hold more that nobody has seen
  bool alone = false;                 // to be worked on beside no other: it may have ended a run before
  std::shared_ptr<const std::vector<int32_t>> prefix{};  // token ids of images and prompt, once they are made
};

/// One tar of the job.
struct Shard {
  int64_t number = 0;
  std::string stem;   // "00000": no other shard of the job has it
  int64_t items = 0;  // once it was read to its end
};

/// A source with what its keys begin with, as a job remembers it.
struct LabelledSource {
  std::string path;      // as given, but plain: "p1" of "./p1/"
  std::string absolute;  // the same from the root, when the job first saw it: tells its pictures from others
  std::string label;     // "FOLDER/", "", a tar's stem
};

struct InputRules {
  /// Of pictures that bring none; an item for each. None: such items have no prompt.
  std::vector<std::string> prompts;
  /// A broken source ends the job at the door, not as an item with an error.
  bool strict = false;
  /// Sources of the job's earlier runs: they keep their labels and identities, and come in that order. One is
  /// known again by its place, or by its spelling where nothing is left at its place: a dataset has moved.
  std::vector<LabelledSource> known{};
  /// Bytes that pictures of compressed tars hold, from when they are read until nobody has them any more:
  /// `next` waits for it. A larger picture is an item with an error. Null: no bound. Outlives the inputs.
  ByteBudget* budget = nullptr;
};

/// Everything to caption, in order, read as it is asked for and never held whole.
///
/// Sources, and the keys of their pictures:
/// - an image file: the path as given, plain ("a.png" of "./a.png");
/// - a folder, with all pictures below it, sorted by path, and then the tars below it: the path below the
///   folder, or where the job has several sources the folder as given, "/", and the path below it;
/// - a glob (* ? []) and braces ({00000..00999}, {a,b}): what they stand for, in order;
/// - a JSONL manifest, {"image": PATH or [PATHS], "prompt"?: TEXT or [TEXTS], "id"?} a line: the id, else the
///   first image as written, a relative one with the manifest's folder before it where the job has several
///   sources; relative paths start at the manifest's folder;
/// - a tar, also compressed: the tar's stem, "/", and the entry's name without its extension
///   ("00000/000123"), which a second picture of that name right behind it keeps ("00000/000123.png"); the
///   stem has the tar's folder before it where two tars of the job share one, "~2" behind it for the same tar
///   again;
/// - "-": a list on standard input, a path a line, or a manifest's line where it begins with {.
/// A picture with several prompts is an item for each, with the same key; a prompt that it has twice counts
/// as another picture's. Keys of two pictures may be equal here: ItemKeys gives each its own. Bytes that are
/// no UTF-8 are written "\xe9". A picture is told from all others by its source, by its name there (path,
/// entry, or id and images as written), and by how many of that name came before.
///
/// A file of a folder or a tar is a picture by its name, else by its first bytes; what is none is counted in
/// `left_out`.
///
/// At the door, within about a second whatever the size: a missing path, a glob without matches and a folder
/// without pictures end in one sentence, as does the job's only source if it is broken from its beginning.
/// What is broken beside others, or further on, is an item with an error, and the rest goes on: its key is a
/// manifest's path and the line ("list.jsonl:123"), a tar's stem and extension ("00000.tar"), or the folder.
class Inputs {
 public:
  explicit Inputs(const std::vector<std::string>& sources, const InputRules& rules = {});
  ~Inputs();
  Inputs(Inputs&&) noexcept;

  std::optional<DatasetItem> next();
  /// From any thread: `next` gives nothing any more, soon even where it waits for a line of standard input.
  void cancel();
  /// Tars whose last item `next` has given since the last call; known once `next` has looked for one more.
  std::vector<Shard> ended_shards();
  /// Of every tar, as far as known without reading them.
  const std::vector<Shard>& shards() const;
  /// The folders, manifests and tars, in the order in which they are read.
  std::vector<LabelledSource> labelled() const;
  /// Of what `next` has come past.
  const LeftOut& left_out() const;
  /// Whether all sources are tars: keys of two then differ by what they begin with.
  bool only_tars() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How many items the sources have: a pass of its own, cheaper than reading them, for a thread of its own.
/// None where that cannot be told (standard input) or `cancelled` became true.
std::optional<int64_t> count_items(const std::vector<std::string>& sources, size_t prompts,
                                   const std::atomic<bool>& cancelled);

}  // namespace lapidary
