#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace lapidary {

/// What the sources of a job hold that is no item of it, counted by reason, so that nothing is passed over in
/// silence.
class LeftOut {
 public:
  /// Of a folder or a tar, and by its first bytes no JPEG, PNG or WebP.
  void add_other(const std::string& name);
  /// Its name begins with a dot.
  void add_hidden() { ++hidden_; }
  /// A link to a folder that it lies in.
  void add_loop() { ++loops_; }
  /// It cannot be opened, so that nobody knows what it is.
  void add_unreadable() { ++unreadable_; }
  /// A tar without a picture.
  void add_empty_tar() { ++empty_tars_; }

  /// "5 files are no JPEG, PNG or WebP (2 .json, 1 .gif, 2 without extension), 2 hidden"; "" for nothing.
  std::string text() const;

 private:
  std::map<std::string, int64_t> others_;  // by extension, in lower case
  int64_t hidden_ = 0, loops_ = 0, unreadable_ = 0, empty_tars_ = 0;
};

}  // namespace lapidary
