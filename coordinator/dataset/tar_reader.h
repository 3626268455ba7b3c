#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "configs/byte_budget.h"
#include "coordinator/dataset/left_out.h"

namespace lapidary {

/// A picture in a tar.
struct TarEntry {
  std::string name;  // as the tar has it
  std::string bare;  // without what leads to the tar's own folder or to the root: "./", "/"
  int64_t bytes = 0;
  int64_t offset = 0;       // where its headers begin, long names and pax headers among them, unpacked
  std::string data;         // its bytes, of a compressed tar
  ByteBudget::Share share;  // what they take of the budget
  std::optional<std::string> error;  // why there are none: a link, empty, too large
};

/// Larger pictures cannot be sent to a worker as bytes; those of a plain tar are read by the worker itself.
constexpr int64_t kMaxEntryBytes = int64_t{48} << 20;

/// Walks a tar's images: ustar, GNU and pax; also compressed, which its bytes tell, not its name. Of a plain
/// tar headers alone are read, and the first bytes of what is no picture by its name. Folders are passed
/// over; files whose name begins with a dot, and those that are no picture, are left out and counted.
class TarReader {
 public:
  enum class Bytes : bool { skip, read };
  struct Options {
    Bytes bytes = Bytes::read;    // whether entries of a compressed tar are wanted with their data
    LeftOut* left_out = nullptr;  // null: not counted
    /// Once it is true the tar ends, soon even where the rest of a large member of a compressed tar is passed
    /// over.
    const std::atomic<bool>* cancelled = nullptr;
    ByteBudget* budget = nullptr;  // that data waits for; null: no bound
  };
  /// Throws a sentence where the file cannot be opened or its first header is none.
  TarReader(const std::string& path, const Options& options);
  explicit TarReader(const std::string& path) : TarReader(path, Options()) {}
  ~TarReader();
  TarReader(TarReader&&) noexcept;

  /// Throws a sentence where the tar ends too early or a header is broken; nothing comes after that.
  std::optional<TarEntry> next();
  bool compressed() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary
